"""How the combined p-values of a window's rows are spread: even, where the traffic is like the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np

from tidegauge.scoring.known_outliers import RATES
from tidegauge.summaries.bin_counts import BinCounts, WeightedBins
from tidegauge.summaries.window_rows import WindowRows

EDGES: Final = RATES
"""1e-6, 2e-6, 5e-6, 1e-5 ... 0.5. Below and above are ordinary bins, so that none is out of range."""


@dataclass(frozen=True)
class PValueCounts:
    """bins: of one column, with EDGES; the last bin is of rows without a p-value."""

    bins: BinCounts

    @classmethod
    def of(cls, data: WindowRows) -> PValueCounts:
        counted = [_count(columns.matrix, columns.weights) for columns in data.combined]
        return cls(reduce(BinCounts.merge, counted) if counted else _NONE)

    def merge(self, other: PValueCounts) -> PValueCounts:
        return PValueCounts(self.bins.merge(other.bins))

    def weighted(self) -> WeightedBins:
        return self.bins.weighted[0]

    def to_state(self) -> dict[str, Any]:
        return self.bins.to_state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> PValueCounts:
        return cls(BinCounts.from_state(state))


def _count(matrix: Any, weights: Any) -> BinCounts:
    return BinCounts.of_columns([_EDGES], matrix, weights)


_EDGES: Final = np.array(EDGES)
_NONE: Final = _count(np.empty((0, 1)), None)
