"""A baseline profile as one HTML page, with the distributions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from cli.baseline_text import calibration_of, number
from cli.histograms import bars_of
from tidegauge.baseline import BaselineProfile
from tidegauge.concerns import concerns
from tidegauge.features import FeatureSpec
from tidegauge.html_page import Bars, page, picture, pictures, table
from tidegauge.reference import FeatureReference

_BARS: Final = 40


def page_of(name: str, profile: BaselineProfile) -> str:
    """name: of the file, for the heading."""
    notes = "".join(f"<li>{escape(concern)}</li>" for concern in concerns(profile))
    columns, *rows = calibration_of(profile)
    parts = [
        f"<p>{profile.rows:,} rows, {profile.outliers:,} known outliers, {len(profile.schema)} features<br>"
        f"id <code>{profile.content_id}</code></p>",
        f"<ul>{notes}</ul>" if notes else "",
        f"<h2>Outlier scores</h2>{table(columns, rows)}",
        f"<h2>Features</h2>{_pictures(profile.schema.features, profile.references)}",
    ]
    if profile.prediction_schema is not None:
        parts.append(f"<h2>Predictions</h2>{_pictures(profile.prediction_schema.features, profile.predictions)}")
    return page(name, parts)


def _pictures(specs: Sequence[FeatureSpec], references: Sequence[FeatureReference]) -> str:
    return pictures(_section(spec, reference) for spec, reference in zip(specs, references, strict=True))


def _section(spec: FeatureSpec, reference: FeatureReference) -> str:
    facts = [spec.kind, f"{reference.missing / max(reference.rows, 1):.1%} missing"]
    if reference.mean is not None:
        facts += [
            f"{number(reference.low)} to {number(reference.high)}",
            f"mean {number(reference.mean)}, sd {number(reference.sd)}",
        ]
    else:
        facts.append(f"{len(spec.categories)} categories")
    bars = [Bars(f"{bar.label}: {bar.share:.2%}", (bar.share,)) for bar in bars_of(spec, reference, bars=_BARS)]
    return picture(spec.name, f"distribution of {spec.name}", bars, note="; ".join(facts))
