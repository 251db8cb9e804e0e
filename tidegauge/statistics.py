"""(monitor, baseline, summary of a window) -> its features' statistics as a report has them: null = cannot be said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from tidegauge.baseline import BaselineProfile
from tidegauge.descriptive import RANGES, ranges_of
from tidegauge.errors import BaselineMismatch
from tidegauge.extensions import what_failed
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.json_texts import GAP, NULL, Form, Texts, Unread, numbers
from tidegauge.monitor import ModelMonitor
from tidegauge.side_by_side import SideBySide, Summarised
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.own_sums import NOT_THROUGHOUT, OwnSums, load_statistic
from tidegauge.summaries.window_summary import WindowSummary
from tidegauge.summary_texts import MOMENTS, QUANTILES, histograms, moment_texts, quantile_texts, ranked, whole

_COUNTS: Final = ("count", "missing", "weight")
"""Of the moments, what categories have as well: their codes are no quantities."""

NAMES: Final = (*MOMENTS, "non_finite", *QUANTILES, "distribution", "given_distribution", "categories", "own")
"""Of a feature's statistics in a report, where the ranges of RANGES follow."""

_FORM: Final = Form(dict.fromkeys(NAMES, GAP) | {"range": dict.fromkeys(RANGES, GAP)})


def check_bins(statistics: Statistics, schema: FeatureSchema) -> None:
    """Raises BaselineMismatch for bins of what the baseline does not know as a quantity: they would never be seen."""
    known = {feature.name for feature in schema.features if feature.kind != "categorical"}
    wrong = sorted(statistics.bins.keys() - known)
    if wrong:
        raise BaselineMismatch(f"statistics.bins: no numeric or boolean feature of the baseline: {', '.join(wrong)}")


def feature_statistics(monitor: ModelMonitor, profile: BaselineProfile, summary: WindowSummary) -> list[Unread]:
    """One per feature, in schema order."""
    (texts,) = feature_texts(monitor.statistics, SideBySide([Summarised(profile, summary)]))
    return list(map(Unread, texts))


def feature_texts(statistics: Statistics, windows: SideBySide) -> list[Sequence[bytes]]:
    """The same of several windows."""
    ranges = ranges_of(windows)
    texts = _FORM.fill(
        *_moments(windows),
        _non_finite(windows),
        *_quantiles(statistics, windows),
        _distributions(windows),
        _given(windows),
        _categories(statistics, windows),
        _own(statistics, windows),
        *(ranges[name].texts for name in RANGES),
    )
    return list(windows.apart(texts))


def _moments(windows: SideBySide) -> list[Texts]:
    codes = np.flatnonzero(~windows.quantities).tolist()
    columns = moment_texts(windows.moments)
    for name, column in zip(MOMENTS, columns, strict=True):
        if name not in _COUNTS:
            for at in codes:
                column[at] = NULL
    return columns


def _non_finite(windows: SideBySide) -> Texts:
    """Records carry null for such values: where requests had some, it may not be known whose they were."""
    texts = numbers(windows.moments.infinite)
    found: Texts = []
    for (_, summary), of_window in zip(windows.windows, windows.apart(texts), strict=True):
        known = summary.requests.issues.get("non_finite", 0) == int(summary.moments.infinite.sum())
        found += of_window if known else [NULL] * len(of_window)
    return found


def _quantiles(statistics: Statistics, windows: SideBySide) -> list[Texts]:
    columns = [[NULL] * len(windows.features) for _ in QUANTILES]
    measured = [
        np.repeat(summary.quantiles is not None, length)
        for (_, summary), length in zip(windows.windows, windows.lengths, strict=True)
    ]
    places = np.flatnonzero(windows.quantities & np.concatenate(measured))
    sketches = [summary.quantiles for _, summary in windows.windows if summary.quantiles is not None]
    if len(places):
        for column, texts in zip(
            columns, quantile_texts(sketches, windows.moments.columns(places), statistics.percentiles), strict=True
        ):
            for at, text in zip(places.tolist(), texts, strict=True):
                column[at] = text
    return columns


def _distributions(windows: SideBySide) -> Texts:
    """Of categories, `categories` has it."""
    edges = [reference.edges_text for reference in windows.references]
    texts = histograms(edges, [summary.bins for _, summary in windows.windows])
    for at in np.flatnonzero(~windows.quantities).tolist():
        texts[at] = NULL
    return texts


def _given(windows: SideBySide) -> Texts:
    found: Texts = []
    for profile, summary in windows.windows:
        of_window = [NULL] * len(profile.schema)
        if summary.given is not None and summary.given.bins is not None:
            edges = [orjson.dumps(inner) for inner in summary.given.edges.values()]
            texts = histograms(edges, [summary.given.bins])
            for name, text in zip(summary.given.edges, texts, strict=True):
                of_window[profile.schema.index[name]] = text
        found += of_window
    return found


def _categories(statistics: Statistics, windows: SideBySide) -> Texts:
    found = [NULL] * len(windows.features)
    codes = np.flatnonzero(~windows.quantities).tolist()
    if codes:
        counts = [one.counts.tolist() for _, summary in windows.windows for one in summary.bins.weighted]
        for at in codes:
            found[at] = orjson.dumps(_of_categories(windows.features[at], counts[at], statistics))
    return found


def _of_categories(feature: FeatureSpec, counts: Sequence[float], statistics: Statistics) -> dict[str, Any]:
    """Shares are of the values present, unseen ones among them."""
    unseen, *known, _ = counts
    named = dict(zip(feature.categories, known, strict=True)) if feature.categories else {}
    present = unseen + sum(named.values())
    return {
        "distinct": sum(count > 0 for count in named.values()),
        "top": ranked(named, present, statistics.top_categories),
        "unseen": {"count": whole(unseen), "share": unseen / present if present else None},
    }


def _own(statistics: Statistics, windows: SideBySide) -> Texts:
    """The user's own statistics, by name."""
    found: Texts = []
    for profile, summary in windows.windows:
        of_window = [b"{}"] * len(profile.schema)
        if statistics.own:
            kept = OwnSums() if summary.own is None else summary.own
            rows = summary.moments.weight.tolist()
            for place, at in enumerate(np.flatnonzero(profile.schema.quantities).tolist()):
                of_window[at] = orjson.dumps(
                    {name: _own_statistic(name, kept, place, rows[at]) for name in statistics.own}
                )
        found += of_window
    return found


def _own_statistic(name: str, kept: OwnSums, place: int, rows: float) -> dict[str, Any]:
    if name not in kept.sums:
        return _not_measured(kept.failed.get(name, NOT_THROUGHOUT))
    if not rows:
        return _not_measured("the window has no value")
    try:
        with np.errstate(all="ignore"):
            value = float(load_statistic(name).value(kept.sums[name][place].copy(), rows))
    except Exception as error:  # noqa: BLE001 - it is the user's own code
        return _not_measured(what_failed(error))
    return {"measured": True, "value": value} if math.isfinite(value) else _not_measured("is no finite number")


def _not_measured(why: str) -> dict[str, Any]:
    return {"measured": False, "why": why}
