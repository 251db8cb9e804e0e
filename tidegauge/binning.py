"""
The bins that drift is judged on: cut once from the baseline, about equal in reference mass, the same for all windows.

A grid of k - 1 inner edges has k value bins [edges[i-1], edges[i]) with open ends, so that no value is out of range,
and one more bin for missing values. A category's bin is its code's; unseen categories share the first bin.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.features import FeatureSpec

Edges = NDArray[np.float64]
Counts = NDArray[np.int64]

TARGET_BINS: Final = 16
"""Each bin holds at least 1 / 16 of the reference, or a single value that heavy: at most 2 * 16 + 1 bins come out."""


def cut_edges(feature: FeatureSpec, values: NDArray[np.float64]) -> Edges:
    """Inner edges, strictly increasing, for the finite reference values of one feature; NaN is ignored."""
    if feature.kind == "categorical":
        return np.arange(len(feature.categories), dtype=np.float64) - 0.5
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    return np.array(_edges(distinct.tolist(), counts.tolist()), dtype=np.float64)


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
    missing = np.isnan(values)
    positions = np.searchsorted(edges, values, side="right")
    positions[missing] = len(edges) + 1
    return np.bincount(positions, minlength=len(edges) + 2)
