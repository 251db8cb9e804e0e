"""(monitor, baseline, summary of a window) -> the statistics as a report has them: JSON, None = cannot be said."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.descriptive import OutlierRate, RangeResult, outlier_rate, outside_range
from tidegauge.drift.results import NotMeasured
from tidegauge.errors import BaselineMismatch
from tidegauge.extensions import what_failed
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.monitor import ModelMonitor
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.bin_counts import WeightedBins
from tidegauge.summaries.cross_moments import upper_triangle
from tidegauge.summaries.label_counts import LabelCounts
from tidegauge.summaries.measures import Measures
from tidegauge.summaries.moments import Moments
from tidegauge.summaries.own_sums import NOT_THROUGHOUT, OwnSums, load_statistic
from tidegauge.summaries.p_value_counts import EDGES
from tidegauge.summaries.quantile_sketches import QuantileSketches
from tidegauge.summaries.window_summary import WindowSummary

Document: TypeAlias = dict[str, Any]
Array = NDArray[np.float64]

REPORTED_PAIRS_FEATURES: Final = 64
"""More numeric features have more than 2,080 pairs: a report with all of them outgrows a Kafka message."""


def check_bins(statistics: Statistics, schema: FeatureSchema) -> None:
    """Raises BaselineMismatch for bins of what the baseline does not know as a quantity: they would never be seen."""
    known = {feature.name for feature in schema.features if feature.kind != "categorical"}
    wrong = sorted(statistics.bins.keys() - known)
    if wrong:
        raise BaselineMismatch(f"statistics.bins: no numeric or boolean feature of the baseline: {', '.join(wrong)}")


def feature_statistics(monitor: ModelMonitor, profile: BaselineProfile, summary: WindowSummary) -> list[Document]:
    """One per feature, in schema order."""
    numbers = _moments(summary.moments)
    unknown = _unattributed(summary)
    quantiles = _quantiles_by_feature(profile, summary, monitor.statistics)
    ranges = outside_range(profile, summary)
    weighted = summary.bins.weighted
    given = _given(summary)
    own = _own(monitor, profile, summary)
    documents = []
    for at, feature in enumerate(profile.schema.features):
        document = numbers[at] | {"non_finite": None if unknown else int(summary.moments.infinite[at])}
        if feature.kind == "categorical":
            document |= dict.fromkeys(_OF_QUANTITIES)
        document |= quantiles[at]
        document["distribution"] = _distribution(feature, profile.references[at].edges, weighted[at])
        document["given_distribution"] = given.get(feature.name)
        document["categories"] = _categories(feature, weighted[at], monitor.statistics)
        document["own"] = own[at]
        document["range"] = {name: _range_document(result) for name, result in ranges[at].items()}
        documents.append(document)
    return documents


def window_statistics(monitor: ModelMonitor, profile: BaselineProfile, summary: WindowSummary) -> Document:
    """Of the window as a whole."""
    measures = _measures(summary.measures, monitor.statistics)
    return {
        "estimated": _estimated(summary),
        "outlier_rate": _rate_document(outlier_rate(profile, summary, rate=monitor.outliers.false_alarm_rate)),
        "timings": {name: measures[name] for name in ("latency_ms", "upstream_ms") if name in measures},
        "scores": {name.removeprefix("score."): it for name, it in measures.items() if name.startswith("score.")},
        "predictions": {name: it for name, it in measures.items() if name.split(".")[0] == "prediction"},
        "labels": _labels(summary.labels, monitor.statistics),
        "p_values": _p_values(summary),
        "covariance": _covariance(profile, summary),
    }


_OF_QUANTITIES: Final = (
    "sum",
    "sum_of_squares",
    "mean",
    "standard_deviation",
    "population_standard_deviation",
    "min",
    "max",
)


def _moments(moments: Moments) -> list[Document]:
    columns: dict[str, NDArray[Any]] = {
        "count": moments.count,
        "missing": moments.missing,
        "weight": moments.weight,
        "sum": moments.total(),
        "sum_of_squares": moments.total_of_squares(),
        "mean": np.where(moments.count > 0, moments.mean, np.nan),
        "standard_deviation": moments.standard_deviation(),
        "population_standard_deviation": moments.population_standard_deviation(),
        "min": moments.low,
        "max": moments.high,
    }
    rows = zip(*map(_finite, columns.values()), strict=True)
    return [dict(zip(columns, values, strict=True)) for values in rows]


def _unattributed(summary: WindowSummary) -> bool:
    """Whether requests had non-finite values of which it is not known whose they were: records carry null for them."""
    return summary.requests.issues.get("non_finite", 0) != int(summary.moments.infinite.sum())


def _quantiles_by_feature(profile: BaselineProfile, summary: WindowSummary, statistics: Statistics) -> list[Document]:
    schema = profile.schema
    none: Document = {"percentiles": None, "iqr": None, "rank_error": None}
    documents = [dict(none) for _ in schema.features]
    if summary.quantiles is None:
        return documents
    positions = [at for at, feature in enumerate(schema.features) if feature.kind != "categorical"]
    chosen = summary.moments.columns(np.array(positions, dtype=np.int64))
    for at, found in zip(positions, _quantiles(summary.quantiles, chosen, statistics), strict=True):
        documents[at] = found
    return documents


def _quantiles(sketches: QuantileSketches, moments: Moments, statistics: Statistics) -> list[Document]:
    """Sketches round to single precision; the range is exact, and its ends are the 0th and the 100th percentile."""
    ranks = np.array([*statistics.percentiles, 25.0, 75.0]) / 100
    found = np.clip(sketches.quantiles(ranks), moments.low[:, None], moments.high[:, None])
    found = np.where(ranks == 0, moments.low[:, None], np.where(ranks == 1, moments.high[:, None], found))
    found[moments.count == 0] = np.nan
    with np.errstate(over="ignore"):
        iqr = found[:, -1] - found[:, -2]
    names = [f"{percentile:g}" for percentile in statistics.percentiles]
    return [
        {
            "percentiles": dict(zip(names, values, strict=False)) if count else None,
            "iqr": distance,
            "rank_error": error if count else None,
        }
        for count, values, distance, error in zip(
            moments.count.tolist(), _finite(found), _finite(iqr), sketches.rank_error().tolist(), strict=True
        )
    ]


def _distribution(feature: FeatureSpec, edges: Array, bins: WeightedBins) -> Document | None:
    """Of categories, `categories` has it."""
    return None if feature.kind == "categorical" else _histogram(edges.tolist(), bins)


def _histogram(edges: Sequence[float], bins: WeightedBins) -> Document:
    *counts, missing = map(_whole, bins.counts.tolist())
    return {"edges": list(edges), "counts": counts, "missing": missing}


def _given(summary: WindowSummary) -> dict[str, Document]:
    if summary.given is None or summary.given.bins is None:
        return {}
    pairs = zip(summary.given.edges.items(), summary.given.bins.weighted, strict=True)
    return {name: _histogram(edges, bins) for (name, edges), bins in pairs}


def _own(monitor: ModelMonitor, profile: BaselineProfile, summary: WindowSummary) -> list[Document]:
    """The user's own statistics, by name."""
    documents: list[Document] = [{} for _ in profile.schema.features]
    kept = OwnSums() if summary.own is None else summary.own
    positions = [at for at, feature in enumerate(profile.schema.features) if feature.kind != "categorical"]
    for name in monitor.statistics.own:
        for place, at in enumerate(positions):
            rows = float(summary.moments.weight[at])
            documents[at][name] = _own_statistic(name, kept, place, rows)
    return documents


def _own_statistic(name: str, kept: OwnSums, place: int, rows: float) -> Document:
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


def _categories(feature: FeatureSpec, bins: WeightedBins, statistics: Statistics) -> Document | None:
    """Shares are of the values present, unseen ones among them."""
    if feature.kind != "categorical":
        return None
    unseen, *counts, _ = bins.counts.tolist()
    named = dict(zip(feature.categories, counts, strict=True)) if feature.categories else {}
    present = unseen + sum(named.values())
    return {
        "distinct": sum(count > 0 for count in named.values()),
        "top": _top(named, present, statistics),
        "unseen": {"count": _whole(unseen), "share": unseen / present if present else None},
    }


def _top(counts: Mapping[Any, float], total: float, statistics: Statistics) -> list[Document]:
    present = [(name, count) for name, count in counts.items() if count]
    ranked = sorted(present, key=lambda item: (-item[1], str(item[0])))
    return [
        {"value": name, "count": _whole(count), "share": count / total}
        for name, count in ranked[: statistics.top_categories]
    ]


def _measures(measures: Measures | None, statistics: Statistics) -> dict[str, Document]:
    if measures is None:
        return {}
    numbers = _moments(measures.moments)
    quantiles = _quantiles(measures.sketches, measures.moments, statistics)
    return {name: number | quantile for name, number, quantile in zip(measures.names, numbers, quantiles, strict=True)}


def _labels(labels: LabelCounts | None, statistics: Statistics) -> dict[str, Document]:
    if labels is None:
        return {}
    counts, totals = labels.weighted()
    documents = {}
    for output, total in sorted(totals.items()):
        named = {label: count for (of, label), count in counts.items() if of == output}
        documents[output] = {
            "count": _whole(total),
            "distinct": len(named),
            "top": _top(named, total, statistics),
            "not_kept": _whole(max(total - sum(named.values()), 0.0)),
        }
    return documents


def _estimated(summary: WindowSummary) -> Document:
    sums = summary.requests.weighted()
    statuses = {name.removeprefix("status."): _whole(it) for name, it in sums.items() if name.startswith("status.")}
    named = {name: _whole(sums[name]) for name in ("requests", "rows", "flagged")}
    return {**named, "statuses": statuses, "effective_rows": summary.requests.effective_rows()}


def _p_values(summary: WindowSummary) -> Document | None:
    return None if summary.p_values is None else _histogram(EDGES, summary.p_values.weighted())


def _covariance(profile: BaselineProfile, summary: WindowSummary) -> Document:
    names = [feature.name for feature in profile.schema.features if feature.kind != "categorical"]
    if summary.cross is None:
        return _not_measured("statistics.covariance is off, or was for a part of the window")
    if len(names) > REPORTED_PAIRS_FEATURES:
        return _not_measured(f"a report has it for {REPORTED_PAIRS_FEATURES} features at most, not for {len(names)}")
    upper = upper_triangle(len(names))
    return {
        "measured": True,
        "features": names,
        "rows": summary.cross.count[upper].tolist(),
        "covariance": _finite(summary.cross.covariance()[upper]),
        "correlation": _finite(summary.cross.correlation[upper]),
    }


def _range_document(result: RangeResult) -> Document:
    if isinstance(result, NotMeasured):
        return _not_measured(result.why)
    # Not _asdict: the statistic itself is beside it.
    return {
        "measured": True,
        "low": result.low,
        "high": result.high,
        "outside": result.outside,
        "expected": result.expected,
        "p_value": result.p_value,
    }


def _rate_document(result: OutlierRate | NotMeasured) -> Document:
    if isinstance(result, NotMeasured):
        return _not_measured(result.why)
    return {"measured": True, **dataclasses.asdict(result)}


def _not_measured(why: str) -> Document:
    return {"measured": False, "why": why}


def _finite(values: NDArray[Any]) -> list[Any]:
    """None for the others: JSON has neither NaN nor infinities."""
    finite = np.isfinite(values)
    told = values if finite.all() else np.where(finite, values, np.array(None, dtype=object))
    listed: list[Any] = told.tolist()
    return listed


def _whole(value: float) -> float:
    """Counts of rows that all have weight 1 are shown as the whole numbers they are."""
    return int(value) if float(value).is_integer() else value
