"""How many values of every feature fell in each of the baseline's bins, missing ones in a bin of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.binning import count_bins_of_columns
from tidegauge.errors import IncompatibleSummaries
from tidegauge.summaries.strata import Strata, by_weight
from tidegauge.summaries.window_rows import WindowRows

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class WeightedBins:
    """
    counts: sums of weights per bin, missing last: the traffic that the rows were sampled from. effective_rows: of how
    many equally weighted rows they have the precision (Kish 1965, "Survey Sampling", section 11.7: the squared sum of
    the weights over the sum of their squares). effective_values: the same for the rows that are not missing.
    """

    counts: Array
    effective_rows: float
    effective_values: float


@dataclass(frozen=True)
class BinCounts:
    """
    counts: the bins of all features one after the other. bounds: where each feature's bins begin, and the end:
    len(features) + 1 increasing positions. strata: the counts by weight, of those rows whose weight is not 1. Every row
    is in exactly one bin of every feature. Verdicts on drift are decided from these counts alone; merging is exact,
    commutative and associative.
    """

    counts: Counts
    bounds: tuple[int, ...]
    strata: Strata[Counts] = field(default_factory=Strata)

    @classmethod
    def of(cls, data: WindowRows) -> BinCounts:
        return cls.of_columns([r.edges for r in data.profile.references], data.matrix, data.weights)

    @classmethod
    def of_columns(cls, edges: Sequence[Array], matrix: Array, weights: Array | None) -> BinCounts:
        """edges: of each column. weights: of the rows, None where every one is 1."""
        bounds = np.cumsum([0] + [len(inner) + 2 for inner in edges])
        strata: Strata[Counts] = Strata()
        if weights is not None:
            sampled = weights != 1
            strata = by_weight(weights[sampled], lambda chosen: count_bins_of_columns(edges, matrix[sampled][chosen]))
        return cls(count_bins_of_columns(edges, matrix), tuple(bounds.tolist()), strata)

    def merge(self, other: BinCounts) -> BinCounts:
        """Raises IncompatibleSummaries when the grids differ."""
        if self.bounds != other.bounds:
            raise IncompatibleSummaries("bins", self.bounds, other.bounds)
        return BinCounts(self.counts + other.counts, self.bounds, self.strata.merge(other.strata))

    def by_feature(self) -> list[Counts]:
        """Rows, whatever their weights."""
        return [self.counts[start:end] for start, end in pairwise(self.bounds)]

    @cached_property
    def weighted(self) -> list[WeightedBins]:
        """One per feature; the same in whatever order the summaries were merged, to the last bit."""
        if not self.strata.parts:
            return self._of_equal_weights()
        weights = sorted(self.strata.parts)
        parts = [self.strata.parts[weight] for weight in weights]
        plain = self.counts - np.sum(parts, axis=0, dtype=np.int64)
        sums, squares = plain.astype(np.float64), plain.astype(np.float64)
        for weight, part in zip(weights, parts, strict=True):
            sums += weight * part
            squares += weight * weight * part
        return [
            WeightedBins(
                counts=sums[start:end],
                effective_rows=_kish(sums[start:end], squares[start:end]),
                effective_values=_kish(sums[start : end - 1], squares[start : end - 1]),
            )
            for start, end in pairwise(self.bounds)
        ]

    def _of_equal_weights(self) -> list[WeightedBins]:
        ends = np.array(self.bounds)
        rows = np.add.reduceat(self.counts, ends[:-1])
        values = rows - self.counts[ends[1:] - 1]
        described = zip(pairwise(self.bounds), rows.tolist(), values.tolist(), strict=True)
        sums = self.counts.astype(np.float64)
        return [WeightedBins(sums[start:end], float(of_all), float(known)) for (start, end), of_all, known in described]

    def to_state(self) -> dict[str, Any]:
        return {"counts": self.counts, "bounds": list(self.bounds), "strata": self.strata.to_state(np.asarray)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> BinCounts:
        """Also of the first format, which had no weights."""
        strata = Strata.from_state(state["strata"], _counts) if "strata" in state else Strata[Counts]()
        return cls(_counts(state["counts"]), tuple(state["bounds"]), strata)


def _counts(state: Any) -> Counts:
    return np.array(state, dtype=np.int64)


def _kish(sums: Array, squares: Array) -> float:
    square = float(squares.sum())
    return float(sums.sum()) ** 2 / square if square else 0.0
