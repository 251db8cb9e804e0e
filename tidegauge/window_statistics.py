"""(monitor, baseline, summary of a window) -> the statistics of the window as a whole, as a report has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import orjson

from tidegauge.baseline import BaselineProfile
from tidegauge.descriptive import outlier_rate
from tidegauge.drift.results import NotMeasured
from tidegauge.json_texts import GAP, Form, Texts, Unread
from tidegauge.monitor import ModelMonitor
from tidegauge.side_by_side import Summarised
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.cross_moments import upper_triangle
from tidegauge.summaries.label_counts import LabelCounts
from tidegauge.summaries.measures import Measures
from tidegauge.summaries.moments import Moments
from tidegauge.summaries.p_value_counts import EDGES, PValueCounts
from tidegauge.summaries.window_summary import WindowSummary
from tidegauge.summary_texts import MOMENTS, QUANTILES, histograms, moment_texts, quantile_texts, ranked, whole

Document: TypeAlias = dict[str, Any]

REPORTED_PAIRS_FEATURES: Final = 64
"""More numeric features have more than 2,080 pairs: a report with all of them outgrows a Kafka message."""

_MEASURE: Final = Form(dict.fromkeys((*MOMENTS, *QUANTILES), GAP))

_EDGES: Final = orjson.dumps(EDGES)


def window_statistics(monitor: ModelMonitor, profile: BaselineProfile, summary: WindowSummary) -> Unread:
    (text,) = window_texts([monitor], [Summarised(profile, summary)])
    return Unread(text)


def window_texts(monitors: Sequence[ModelMonitor], windows: Sequence[Summarised]) -> Texts:
    """The same of several windows, at least one, whose monitors want the same statistics."""
    statistics = monitors[0].statistics
    measured = _measures([summary.measures for _, summary in windows], statistics)
    return [
        orjson.dumps(_of_window(*one, measures, statistics), option=orjson.OPT_SERIALIZE_NUMPY)
        for one, measures in zip(zip(monitors, windows, strict=True), measured, strict=True)
    ]


def _of_window(
    monitor: ModelMonitor, window: Summarised, measures: Mapping[str, orjson.Fragment], statistics: Statistics
) -> Document:
    profile, summary = window
    return {
        "estimated": _estimated(summary),
        "outlier_rate": _outlier_rate(profile, summary, monitor.outliers.false_alarm_rate),
        "timings": {name: measures[name] for name in ("latency_ms", "upstream_ms") if name in measures},
        "scores": {name.removeprefix("score."): it for name, it in measures.items() if name.startswith("score.")},
        "predictions": {name: it for name, it in measures.items() if name.split(".")[0] == "prediction"},
        "labels": _labels(summary.labels, statistics),
        "p_values": _p_values(summary.p_values),
        "covariance": _covariance(profile, summary),
    }


def _measures(of_windows: Sequence[Measures | None], statistics: Statistics) -> Iterator[Mapping[str, orjson.Fragment]]:
    """Of each window, by name."""
    known = [measures for measures in of_windows if measures is not None and measures.names]
    texts: Iterator[bytes] = iter(())
    if known:
        moments = Moments.side_by_side([measures.moments for measures in known])
        quantiles = quantile_texts([measures.sketches for measures in known], moments, statistics.percentiles)
        texts = iter(_MEASURE.fill(*moment_texts(moments), *quantiles))
    for measures in of_windows:
        names = () if measures is None else measures.names
        yield {name: orjson.Fragment(next(texts)) for name in names}


def _estimated(summary: WindowSummary) -> Document:
    """What the weights add up to: the traffic that the requests were sampled from."""
    sums = summary.requests.weighted()
    statuses = {name.removeprefix("status."): whole(it) for name, it in sums.items() if name.startswith("status.")}
    named = {name: whole(sums[name]) for name in ("requests", "rows", "flagged")}
    return {**named, "statuses": statuses, "effective_rows": summary.requests.effective_rows()}


def _outlier_rate(profile: BaselineProfile, summary: WindowSummary, rate: float) -> Document:
    found = outlier_rate(profile, summary, rate=rate)
    if isinstance(found, NotMeasured):
        return _not_measured(found.why)
    return {"measured": True, "rate": found.rate, "expected": found.expected, "p_value": found.p_value}


def _labels(labels: LabelCounts | None, statistics: Statistics) -> dict[str, Document]:
    if labels is None:
        return {}
    counts, totals = labels.weighted()
    documents = {}
    for output, total in sorted(totals.items()):
        named = {label: count for (of, label), count in counts.items() if of == output}
        documents[output] = {
            "count": whole(total),
            "distinct": len(named),
            "top": ranked(named, total, statistics.top_categories),
            "not_kept": whole(max(total - sum(named.values()), 0.0)),
        }
    return documents


def _p_values(counts: PValueCounts | None) -> orjson.Fragment | None:
    return None if counts is None else orjson.Fragment(histograms([_EDGES], [counts.bins])[0])


def _covariance(profile: BaselineProfile, summary: WindowSummary) -> Document:
    """Arrays, which are written as they are: a pair is in them once."""
    schema, cross = profile.schema, summary.cross
    names = [name for name, is_quantity in zip(schema.names, schema.quantities.tolist(), strict=True) if is_quantity]
    if cross is None:
        return _not_measured("statistics.covariance is off, or was for a part of the window")
    if len(names) > REPORTED_PAIRS_FEATURES:
        return _not_measured(f"a report has it for {REPORTED_PAIRS_FEATURES} features at most, not for {len(names)}")
    upper = upper_triangle(len(names))
    return {
        "measured": True,
        "features": names,
        "rows": cross.count[upper],
        "covariance": cross.covariance()[upper],
        "correlation": cross.correlation[upper],
    }


def _not_measured(why: str) -> Document:
    return {"measured": False, "why": why}
