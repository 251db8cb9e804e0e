"""How many values of every feature fell in each of the baseline's bins, missing ones in a bin of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.binning import count_bins_of_columns, count_bins_of_ordered
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
        edges = [reference.edges for reference in data.profile.references]
        if data.weights is None:
            return cls(count_bins_of_ordered(edges, data.ordered), _bounds(edges))
        return cls.of_columns(edges, data.matrix, data.weights)

    @classmethod
    def of_columns(cls, edges: Sequence[Array], matrix: Array, weights: Array | None) -> BinCounts:
        """edges: of each column. weights: of the rows, None where every one is 1."""
        strata: Strata[Counts] = Strata()
        if weights is not None:
            sampled = weights != 1
            strata = by_weight(weights[sampled], lambda chosen: count_bins_of_columns(edges, matrix[sampled][chosen]))
        return cls(count_bins_of_columns(edges, matrix), _bounds(edges), strata)

    def merge(self, other: BinCounts) -> BinCounts:
        """Raises IncompatibleSummaries when the grids differ."""
        if self.bounds != other.bounds:
            raise IncompatibleSummaries("bins", self.bounds, other.bounds)
        return BinCounts(self.counts + other.counts, self.bounds, self.strata.merge(other.strata))

    @cached_property
    def weighted(self) -> list[WeightedBins]:
        """One per feature; the same in whatever order the summaries were merged, to the last bit."""
        described = zip(pairwise(self.bounds), self._effective[0].tolist(), self.effective_values.tolist(), strict=True)
        return [WeightedBins(self.sums[start:end], of_all, known) for (start, end), of_all, known in described]

    @cached_property
    def sums(self) -> Array:
        """Of weights: as `counts`, whose sums they are where every weight is 1."""
        plain = self.counts.astype(np.float64)
        return plain if not self.strata.parts else self._of_strata(lambda weight: weight)

    @property
    def effective_values(self) -> Array:
        """As WeightedBins has them, of each feature."""
        return self._effective[1]

    @cached_property
    def _effective(self) -> tuple[Array, Array]:
        """Rows and values."""
        starts, missing = np.array(self.bounds[:-1]), np.array(self.bounds[1:]) - 1
        if not self.strata.parts:
            rows = np.add.reduceat(self.sums, starts)
            return rows, rows - self.sums[missing]
        squares = self._of_strata(lambda weight: weight * weight)
        spans = list(pairwise(self.bounds))
        return (
            np.array([_kish(self.sums[start:end], squares[start:end]) for start, end in spans]),
            np.array([_kish(self.sums[start : end - 1], squares[start : end - 1]) for start, end in spans]),
        )

    def _of_strata(self, factor: Callable[[float], float]) -> Array:
        """Each row times this of its weight."""
        weights = sorted(self.strata.parts)
        parts = [self.strata.parts[weight] for weight in weights]
        found = (self.counts - np.sum(parts, axis=0, dtype=np.int64)).astype(np.float64)
        for weight, part in zip(weights, parts, strict=True):
            found += factor(weight) * part
        return np.asarray(found)

    def to_state(self) -> dict[str, Any]:
        return {"counts": self.counts, "bounds": list(self.bounds), "strata": self.strata.to_state(np.asarray)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> BinCounts:
        """Also of the first format, which had no weights."""
        strata = Strata.from_state(state["strata"], _counts) if "strata" in state else Strata[Counts]()
        return cls(_counts(state["counts"]), tuple(state["bounds"]), strata)


def _bounds(edges: Sequence[Array]) -> tuple[int, ...]:
    return tuple(accumulate((len(inner) + 2 for inner in edges), initial=0))


def _counts(state: Any) -> Counts:
    return np.array(state, dtype=np.int64)


def _kish(sums: Array, squares: Array) -> float:
    square = float(squares.sum())
    return float(sums.sum()) ** 2 / square if square else 0.0
