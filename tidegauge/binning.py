"""
The bins that drift is judged on: cut once from the baseline, about equal in reference mass, the same for all windows.

A grid of k - 1 inner edges has k value bins [edges[i-1], edges[i]) with open ends, so that no value is lost, and one
more bin for missing values. The first and the last value bin hold what is below and above all the reference: empty
there, so that a value never seen before counts as one, be it the first change of a feature that was constant. A
category's bin is its code's; unseen categories share the first bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.features import FeatureSpec

Edges = NDArray[np.float64]
Counts = NDArray[np.int64]

TARGET_BINS: Final = 16
"""
Each bin between the open ends holds at least 1 / 16 of the reference, save one before each value that heavy and the
last: at most 2 * 16 + 1 of them come out.
"""


def cut_edges(feature: FeatureSpec, values: NDArray[np.float64], *, ends: tuple[float, float] | None = None) -> Edges:
    """
    Inner edges, strictly increasing, for the finite reference values of one feature; NaN is ignored. ends: the least
    and the greatest of all the reference where `values` are a sample of it; (inf, -inf) where there is none.
    """
    if feature.kind == "categorical":
        return np.arange(len(feature.categories), dtype=np.float64) - 0.5
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    low, high = ends or (np.min(distinct, initial=np.inf), np.max(distinct, initial=-np.inf))
    if low > high:
        return np.empty(0)
    inner = _edges(distinct.tolist(), counts.tolist())
    return np.array([low, *inner, np.nextafter(high, np.inf)], dtype=np.float64)


def _edges(distinct: list[float], counts: list[int]) -> list[float]:
    """A value that is a bin's worth by itself gets a bin of its own; the others are gathered until they are one."""
    target = sum(counts) / TARGET_BINS
    edges: list[float] = []
    gathered = 0
    for value, count in zip(distinct, counts, strict=True):
        if gathered and (gathered >= target or count >= target):
            edges.append(value)
            gathered = 0
        gathered += count
    return edges


def count_bins(edges: Edges, values: NDArray[np.float64]) -> Counts:
    """len(edges) + 2 counts: the value bins in order, then missing."""
    return count_bins_of_columns([edges], values[:, None])


def count_bins_of_columns(edges: Sequence[Edges], matrix: NDArray[np.float64]) -> Counts:
    """As count_bins has them, of each column, one after the other. edges: of each column, at least one."""
    # To sort all values and look up the edges takes a fourth of the time that looking up each value takes.
    return count_bins_of_ordered(edges, np.sort(matrix.T, axis=1))


def count_bins_of_ordered(edges: Sequence[Edges], ordered: NDArray[np.float64]) -> Counts:
    """The same of (columns, rows) whose values increase, NaN last."""
    rows = ordered.shape[1]
    bins = _bins_of(tuple(map(len, edges)))
    up_to = np.empty(bins.number, dtype=np.int64)
    up_to[bins.of_edges] = np.concatenate(
        [column.searchsorted(inner) for column, inner in zip(ordered, edges, strict=True)]
    )
    up_to[bins.missing] = rows
    up_to[bins.missing - 1] = rows - np.isnan(ordered).sum(axis=1)
    counts = up_to.copy()
    counts[1:] -= up_to[:-1]
    counts[bins.first] = up_to[bins.first]
    return counts


class _Bins(NamedTuple):
    """
    Positions among the bins of all columns. of_edges: the bin that ends at each edge. first, missing: of each column.
    """

    number: int
    of_edges: NDArray[np.int64]
    first: NDArray[np.int64]
    missing: NDArray[np.int64]


@lru_cache(maxsize=64)
def _bins_of(edges: tuple[int, ...]) -> _Bins:
    """edges: how many each column has."""
    bounds = np.cumsum([0] + [inner + 2 for inner in edges], dtype=np.int64)
    missing = bounds[1:] - 1
    value_bins = np.setdiff1d(np.arange(bounds[-1]), missing)
    return _Bins(int(bounds[-1]), np.setdiff1d(value_bins, missing - 1), bounds[:-1], missing)
