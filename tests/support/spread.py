"""A detector as a user may write one: how far apart the values of a row are."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegauge.features import FeatureSchema, Matrix
from tidegauge.scoring.detector import Array, Missing, ReasonsOfRow, ReasonsOfRows


class Spread:
    """Scores the range of a row's values over the reference's usual range; missing values stay out."""

    def __init__(self, usual: float) -> None:
        self._usual = usual

    @classmethod
    def fit(cls, matrix: Matrix, schema: FeatureSchema) -> Spread:
        return cls(float(np.median(_ranges(matrix))))

    @classmethod
    def from_document(cls, document: Any, schema: FeatureSchema) -> Spread:
        return cls(float(document["usual"]))

    def to_document(self) -> dict[str, object]:
        return {"usual": self._usual}

    def score_row(self, row: Array, missing: Missing) -> tuple[float, ReasonsOfRow]:
        scores, reasons = self.scores(row[None, :], missing)
        return float(scores[0]), lambda: reasons(np.array([0]))[0]

    def scores(self, matrix: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        return _ranges(matrix) / self._usual, lambda rows: np.nan_to_num(np.abs(matrix[rows]))


def _ranges(matrix: Array) -> Array:
    # Bounded: the difference of the two largest doubles is infinite.
    present = np.clip(np.nan_to_num(matrix), -1e150, 1e150)
    return np.asarray(present.max(axis=1) - present.min(axis=1))


class Half:
    """Lacks most of what a detector has."""

    @classmethod
    def fit(cls, matrix: Matrix, schema: FeatureSchema) -> Half:
        return cls()
