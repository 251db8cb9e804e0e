"""What an outlier detector is: the shape that the table of detectors and a user's own class have in common."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegauge.extensions import is_extension, load_extension
from tidegauge.features import FeatureSchema, Matrix

Array: TypeAlias = NDArray[np.float64]
Missing: TypeAlias = NDArray[np.bool_] | None
"""Where values are missing, in the shape of the values; None where none is."""

ReasonsOfRow: TypeAlias = Callable[[], Array]
"""Gives the features' contributions, (features,); called at most once, before the detector's next call."""

ReasonsOfRows: TypeAlias = Callable[[NDArray[np.intp]], Array]
"""Gives the contributions at positions of rows, (features, positions); called before the detector's next call."""


class ReadyReasons:
    """Contributions that came with the scores, (features, rows), as reasons: who asks may take them all as they are."""

    __slots__ = ("contributions",)

    def __init__(self, contributions: Array) -> None:
        self.contributions = contributions

    def __call__(self, rows: NDArray[np.intp]) -> Array:
        return self.contributions.take(rows, axis=1)


class Detector(Protocol):
    """
    Fitted on reference rows. The larger a score, the less like the reference; contributions say which features drive it
    and are >= 0. A score depends on its row alone and comes out the same, to the last bit, by either method.

    Reasons are given on demand, since they are wanted of the most surprised detector only. Detectors keep buffers: one
    thread at a time.
    """

    def score_row(self, row: Array, missing: Missing) -> tuple[float, ReasonsOfRow]:
        """row: (features,)."""

    def scores(self, columns: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        """columns: (features, rows), C-contiguous, at least 2 rows. Scores are (rows,)."""

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
    """Scores (rows,) for float64 (rows, features), NaN = missing."""
    scores, _ = _scored(detector, matrix)
    return scores


def score_rows(detector: Detector, matrix: Matrix) -> tuple[Array, Array]:
    """Scores (rows,) and contributions (rows, features)."""
    scores, reasons = _scored(detector, matrix)
    return scores, np.ascontiguousarray(reasons(np.arange(len(matrix))).T)


def _scored(detector: Detector, matrix: Matrix) -> tuple[Array, ReasonsOfRows]:
    columns = np.ascontiguousarray(matrix.T)
    gaps = np.isnan(columns)
    missing = gaps if gaps.any() else None
    if columns.shape[1] != 1:
        return detector.scores(columns, missing)
    score, reasons = detector.score_row(columns[:, 0], None if missing is None else missing[:, 0])
    return np.array([score]), lambda _rows: reasons()[:, None]


def sum_of_row(contributions: Array) -> float:
    """In the order of features, as sum_of_rows adds."""
    total: float = functools.reduce(operator.add, contributions.tolist())
    return total


def sum_of_rows(contributions: Array) -> Array:
    """(features, rows), C-contiguous, at least 2 rows: summed feature after feature, which one column would not be."""
    return np.asarray(np.add.reduce(contributions, axis=0))
