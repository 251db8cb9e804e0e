"""Moments, quantiles and histograms of many columns as a report has them: JSON texts, null = cannot be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.json_texts import GAP, NULL, Form, Texts, joined, numbers, whole_numbers
from tidegauge.summaries.bin_counts import BinCounts
from tidegauge.summaries.moments import Moments
from tidegauge.summaries.quantile_sketches import QuantileSketches

MOMENTS: Final = (
    "count",
    "missing",
    "weight",
    "sum",
    "sum_of_squares",
    "mean",
    "standard_deviation",
    "population_standard_deviation",
    "min",
    "max",
)

QUANTILES: Final = ("percentiles", "iqr", "rank_error")

_HISTOGRAM: Final = Form({"edges": GAP, "counts": GAP, "missing": GAP})


def moment_texts(moments: Moments) -> list[Texts]:
    """For each name of MOMENTS, the columns' values."""
    columns: list[NDArray[Any]] = [
        moments.count,
        moments.missing,
        moments.weight,
        moments.total(),
        moments.total_of_squares(),
        np.where(moments.count > 0, moments.mean, np.nan),
        moments.standard_deviation(),
        moments.population_standard_deviation(),
        moments.low,
        moments.high,
    ]
    return list(map(numbers, columns))


def quantile_texts(sketches: Sequence[QuantileSketches], moments: Moments, percentiles: Sequence[float]) -> list[Texts]:
    """
    For each name of QUANTILES, the columns' values. sketches: at least one; of the columns of `moments`, one after the
    other. Sketches round to single precision; the range is exact, and its ends are the 0th and the 100th percentile.
    """
    ranks = np.array([*percentiles, 25.0, 75.0]) / 100
    low, high = moments.low[:, None], moments.high[:, None]
    found = np.clip(np.concatenate([one.quantiles(ranks) for one in sketches]), low, high)
    found = np.where(ranks == 0, low, np.where(ranks == 1, high, found))
    found[moments.count == 0] = np.nan
    with np.errstate(over="ignore"):
        iqr = found[:, -1] - found[:, -2]
    form = Form(dict.fromkeys([f"{percentile:g}" for percentile in percentiles], GAP))
    texts = form.fill(*(numbers(found[:, at]) for at in range(len(percentiles))))
    errors = numbers(np.concatenate([one.rank_error() for one in sketches]))
    for at in np.flatnonzero(moments.count == 0).tolist():
        texts[at] = errors[at] = NULL
    return [texts, numbers(iqr), errors]


def histograms(edges: Sequence[bytes], bins: Sequence[BinCounts]) -> Texts:
    """One a column. edges: of each, as a text. bins: with the columns one after the other."""
    counts: Texts = []
    missing: Texts = []
    for one in bins:
        texts = whole_numbers(one.sums) if one.strata.parts else numbers(one.counts)
        for start, end in pairwise(one.bounds):
            counts.append(joined(texts[start : end - 1]))
            missing.append(texts[end - 1])
    return _HISTOGRAM.fill(edges, counts, missing)


def ranked(counts: Mapping[Any, float], total: float, most: int) -> list[dict[str, Any]]:
    """The most frequent ones, so many at most, with their shares of the total."""
    present = [(name, count) for name, count in counts.items() if count]
    first = sorted(present, key=lambda item: (-item[1], str(item[0])))[:most]
    return [{"value": name, "count": whole(count), "share": count / total} for name, count in first]


def whole(value: float) -> float:
    """Counts of rows that all have weight 1 are shown as the whole numbers they are."""
    return int(value) if float(value).is_integer() else value
