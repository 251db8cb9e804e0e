"""How many values of every feature fell in each of the baseline's bins, missing ones in a bin of their own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.binning import count_bins
from tidegauge.errors import IncompatibleSummaries
from tidegauge.summaries.window_rows import WindowRows


@dataclass(frozen=True)
class BinCounts:
    """
    counts: the bins of all features one after the other. bounds: where each feature's bins begin, and the end:
    len(features) + 1 increasing positions. Every row is in exactly one bin of every feature. Verdicts on drift are
    decided from these counts alone; merging is exact, commutative and associative.
    """

    counts: NDArray[np.int64]
    bounds: tuple[int, ...]

    @classmethod
    def of(cls, data: WindowRows) -> BinCounts:
        parts = [count_bins(r.edges, data.matrix[:, f]) for f, r in enumerate(data.profile.references)]
        bounds = np.cumsum([0] + [len(part) for part in parts])
        return cls(np.concatenate(parts), tuple(bounds.tolist()))

    def merge(self, other: BinCounts) -> BinCounts:
        """Raises IncompatibleSummaries when the grids differ."""
        if self.bounds != other.bounds:
            raise IncompatibleSummaries("bins", self.bounds, other.bounds)
        return BinCounts(self.counts + other.counts, self.bounds)

    def by_feature(self) -> list[NDArray[np.int64]]:
        return [self.counts[start:end] for start, end in pairwise(self.bounds)]

    def to_state(self) -> dict[str, Any]:
        return {"counts": self.counts.tolist(), "bounds": self.bounds}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> BinCounts:
        return cls(np.array(state["counts"], dtype=np.int64), tuple(state["bounds"]))
