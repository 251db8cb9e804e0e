"""Numbers beside the features: latencies, scores by detector, predictions. Each has moments and a quantile sketch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.summaries.moments import Moments
from tidegauge.summaries.quantile_sketches import QuantileSketches
from tidegauge.summaries.record_columns import Columns
from tidegauge.summaries.window_rows import WindowRows

MOST_MEASURES: Final = 64
"""The first ones in alphabetical order are kept, so that a predictor which names outputs at random fills no memory."""


@dataclass(frozen=True)
class Measures:
    """
    names: sorted, of the columns of `moments` and `sketches`: "latency_ms", "upstream_ms", "score.DETECTOR",
    "prediction" or "prediction.OUTPUT". Sketches are in single precision as the values come, neither centred nor
    scaled: no baseline knows these. Merging takes columns by name.
    """

    names: tuple[str, ...]
    moments: Moments
    sketches: QuantileSketches

    @classmethod
    def of(cls, data: WindowRows) -> Measures:
        parts = [_of_columns(columns) for columns in _side_by_side(data.measures)]
        return reduce(Measures.merge, parts) if parts else _NONE

    def merge(self, other: Measures) -> Measures:
        names = self.names
        if names != other.names:
            names = tuple(sorted({*self.names, *other.names})[:MOST_MEASURES])
        left, right = self._arranged(names), other._arranged(names)
        return Measures(names, left.moments.merge(right.moments), left.sketches.merge(right.sketches))

    def _arranged(self, names: Sequence[str]) -> Measures:
        if tuple(names) == self.names:
            return self
        at = {name: position for position, name in enumerate(self.names)}
        positions = np.array([at.get(name, -1) for name in names], dtype=np.int64)
        return Measures(tuple(names), self.moments.arranged(positions), self.sketches.arranged(positions))

    def to_state(self) -> dict[str, Any]:
        return {"names": self.names, "moments": self.moments.to_state(), "sketches": self.sketches.to_state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Measures:
        return cls(
            tuple(state["names"]),
            Moments.from_state(state["moments"]),
            QuantileSketches.from_state(state["sketches"]),
        )


def _side_by_side(parts: Sequence[Columns]) -> list[Columns]:
    """Those of as many rows without weights as one: a few columns more cost nothing, and merging them does."""
    separate: list[Columns] = []
    joined: dict[int, Columns] = {}
    for columns in parts:
        rows = len(columns.matrix)
        known = joined.get(rows, Columns((), np.empty((rows, 0))))
        if columns.weights is None and set(known.names).isdisjoint(columns.names):
            joined[rows] = Columns(known.names + columns.names, np.hstack([known.matrix, columns.matrix]))
        else:
            separate.append(columns)
    return [*joined.values(), *separate]


def _of_columns(columns: Columns) -> Measures:
    order = sorted(range(len(columns.names)), key=lambda at: columns.names[at])[:MOST_MEASURES]
    matrix: NDArray[np.float64] = columns.matrix[:, order]
    return Measures(
        tuple(columns.names[at] for at in order),
        Moments.of_columns(matrix, columns.weights),
        QuantileSketches.of_columns(matrix, columns.weights, centre=np.zeros(len(order)), scale=np.ones(len(order))),
    )


_NONE: Final = _of_columns(Columns((), np.empty((0, 0))))
