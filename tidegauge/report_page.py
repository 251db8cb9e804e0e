"""A window's report as one HTML page, with the distributions of all that was judged."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.drift.window_bins import FeatureBins
from tidegauge.features import FeatureSpec
from tidegauge.html_page import Bars, page, picture, pictures, table
from tidegauge.reference import FeatureReference
from tidegauge.report import FeatureReport, WindowReport
from tidegauge.report_text import COLUMNS, HEADINGS, further, ordered, row_of
from tidegauge.subjects import SCORE_BINS


def page_of(report: WindowReport) -> str:
    sentences = "".join(f"<li>{escape(cause.sentence)}</li>" for cause in report.causes)
    rows = [row_of(report, one) for one in ordered(report)]
    parts = [
        f"<p>{len(report.drifted_features)} of {len(report.features)} features drifted. Baseline "
        f"<code>{escape(report.baseline[:12])}</code>, window from {report.window.start_ms} to "
        f"{report.window.end_ms} ms.</p>",
        f"<h2>What changed</h2><ul>{sentences}</ul>" if sentences else "",
        f"<h2>Features</h2>{table(COLUMNS, rows, marked=report.drifted)}",
        *(f"<p>{escape(line)}</p>" for line in further(report)),
        _pictures(report),
    ]
    return page(f"{report.monitor} {report.version}: {HEADINGS[report.verdict]}", parts)


def _pictures(report: WindowReport) -> str:
    """Only where the report knows what it was compared with: one read from its document does not."""
    if report.profile is None:
        return ""
    names = _names_of_bins(report.profile, report)
    bins = {one.name: one for one in report.compared.features} if report.compared else {}
    sections = [_section(one, bins[one.name], names[one.name]) for one in ordered(report) if one.name in bins]
    return (
        "<h2>Distributions</h2><p>Share of rows in each bin of the baseline: left bar baseline, right bar window. "
        f"The last bin has the missing values.</p>{pictures(sections)}"
    )


def _section(one: FeatureReport, bins: FeatureBins, names: Sequence[str]) -> str:
    if one.withheld is not None:
        return picture(one.name, "", (), note=one.withheld)
    shares = zip(names, _shares(bins.reference), _shares(bins.window), strict=True)
    bars = [
        Bars(f"{name}: {was:.1%} in the baseline, {now:.1%} in the window", (was, now)) for name, was, now in shares
    ]
    return picture(one.name, f"{one.name}: baseline against window", bars, marked=one.drifted)


def _shares(counts: object) -> list[float]:
    numbers = np.asarray(counts, dtype=np.float64)
    shares: list[float] = (numbers / (numbers.sum() or 1.0)).tolist()
    return shares


def _names_of_bins(profile: BaselineProfile, report: WindowReport) -> dict[str, list[str]]:
    """In the order of what was judged: features, predictions, scores."""
    outputs = () if profile.prediction_schema is None else profile.prediction_schema.features
    named = [_names(*one) for one in zip(profile.schema.features, profile.references, strict=True)]
    if report.predictions:
        named += [_names(*one) for one in zip(outputs, profile.predictions, strict=True)]
    return {one.name: names for one, names in zip(report.judged, [*named, [*SCORE_BINS, "missing"]], strict=False)}


def _names(spec: FeatureSpec, reference: FeatureReference) -> list[str]:
    if spec.kind == "categorical":
        return ["unseen", *map(str, spec.categories), "missing"]
    edges = [f"{edge:.6g}" for edge in reference.edges.tolist()]
    inner = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"below {edges[0]}", *inner, f"from {edges[-1]}", "missing"]
