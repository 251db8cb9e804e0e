"""What an outlier detector is: the shape that the table of detectors and a user's own class have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegauge.extensions import is_extension, load_extension
from tidegauge.features import FeatureSchema, Matrix

Array: TypeAlias = NDArray[np.float64]
Missing: TypeAlias = NDArray[np.bool_] | None
"""Where values are missing, in the shape of the values; None where none is."""

BLOCK_ROWS: Final = 1 << 14
"""Scored at a time where rows may be many."""

ReasonsOfRow: TypeAlias = Callable[[], Array]
"""Gives the features' contributions, (features,); called at most once, before the detector's next call."""

ReasonsOfRows: TypeAlias = Callable[[NDArray[np.intp]], Array]
"""Gives the contributions at positions of rows, (positions, features); called before the detector's next call."""


class ReadyReasons:
    """Contributions that came with the scores, (rows, features), as reasons: who asks may take them all as they are."""

    __slots__ = ("contributions",)

    def __init__(self, contributions: Array) -> None:
        self.contributions = contributions

    def __call__(self, rows: NDArray[np.intp]) -> Array:
        return self.contributions.take(rows, axis=0)


class Detector(Protocol):
    """
    Fitted on reference rows. The larger a score, the less like the reference; contributions say which features drive it
    and are >= 0. A score depends on its row alone and comes out the same, to the last bit, by either method.

    Reasons are given on demand, since they are wanted of the most surprised detector only. Detectors keep buffers: one
    thread at a time.
    """

    def score_row(self, row: Array, missing: Missing) -> tuple[float, ReasonsOfRow]:
        """row: (features,)."""

    def scores(self, matrix: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        """matrix: (rows, features), C-contiguous, at least 2 rows. Scores are (rows,)."""

    def to_document(self) -> dict[str, object]:
        """JSON-able, the same for the same fit."""


KIND_METHODS: Final = ("fit", "from_document", "score_row", "scores", "to_document")
"""What a user's own detector class must have."""


class DetectorKind(Protocol):
    """What makes detectors: a class with these two class methods."""

    def fit(self, matrix: Matrix, schema: FeatureSchema) -> Detector:
        """matrix: float64 (rows, features), NaN = missing, at least one row, none of them a known outlier."""

    def from_document(self, document: Any, schema: FeatureSchema) -> Detector:
        """Raises InvalidBaseline for what to_document() did not give."""


def load_detectors(names: Iterable[str]) -> dict[str, DetectorKind]:
    """The classes behind those of the names that are a user's own, "module:Class". Raises InvalidExtension."""
    return {name: load_extension(name, methods=KIND_METHODS) for name in names if is_extension(name)}


def scores_of(detector: Detector, matrix: Matrix) -> Array:
    """Scores (rows,) for float64 (rows, features), NaN = missing; in memory that does not grow with the rows."""
    starts = range(0, max(len(matrix), 1), BLOCK_ROWS)
    return np.concatenate([_scored(detector, matrix[start : start + BLOCK_ROWS])[0] for start in starts])


def score_rows(detector: Detector, matrix: Matrix) -> tuple[Array, Array]:
    """Scores (rows,) and contributions (rows, features)."""
    scores, reasons = _scored(detector, matrix)
    return scores, reasons(np.arange(len(matrix)))


def _scored(detector: Detector, matrix: Matrix) -> tuple[Array, ReasonsOfRows]:
    matrix = np.ascontiguousarray(matrix)
    gaps = np.isnan(matrix)
    missing = gaps if gaps.any() else None
    if len(matrix) != 1:
        return detector.scores(matrix, missing)
    score, reasons = detector.score_row(matrix[0], None if missing is None else missing[0])
    return np.array([score]), lambda _rows: reasons()[None, :]


def sum_of_row(contributions: Array) -> float:
    """(features,). The same, to the last bit, as sum_of_rows gives."""
    return float(np.add.reduce(contributions))


def sum_of_rows(contributions: Array) -> Array:
    """
    (rows, features), C-contiguous: numpy adds what lies side by side in one order, however many rows there are. Sums
    over any other axis depend on the shape.
    """
    return np.asarray(np.add.reduce(contributions, axis=1))
