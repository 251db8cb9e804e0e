"""The inline outlier detectors that a monitor may name. A new one is a class of the same shape and a line here."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegauge.features import FeatureSchema
from tidegauge.scoring.mahalanobis import MahalanobisDetector
from tidegauge.scoring.tail import TailDetector


class Detector(Protocol):
    """
    Fitted on reference rows. A row's score is the sum of its features' contributions, which are >= 0; the larger, the
    less like the reference. It depends on that row alone and comes out the same, to the last bit, by either method.
    Detectors keep buffers: one thread at a time.
    """

    def contributions_of_row(self, row: NDArray[np.float64], missing: NDArray[np.bool_] | None) -> NDArray[np.float64]:
        """row: (features,). missing: where it has no value, None where it has all. Gives (features,)."""

    def contributions(self, columns: NDArray[np.float64], missing: NDArray[np.bool_] | None) -> NDArray[np.float64]:
        """columns: (features, rows), C-contiguous, at least 2 rows. missing: as above. Gives (features, rows)."""

    def to_document(self) -> dict[str, object]: ...


def score_rows(detector: Detector, matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (rows,) and contributions (rows, features) for float64 (rows, features), NaN = missing."""
    columns = np.ascontiguousarray(matrix.T)
    gaps = np.isnan(columns)
    missing = gaps if gaps.any() else None
    if columns.shape[1] == 1:
        row = None if missing is None else missing[:, 0]
        contributions = detector.contributions_of_row(columns[:, 0], row)[:, None]
    else:
        contributions = detector.contributions(columns, missing)
    # Feature after feature, as a single row's are added: one column would be summed pairwise.
    scores = functools.reduce(np.add, contributions)
    return scores, np.ascontiguousarray(contributions.T)


class DetectorKind(Protocol):
    def fit(self, matrix: NDArray[np.float64], schema: FeatureSchema) -> Detector: ...

    def from_document(self, document: Any, schema: FeatureSchema) -> Detector: ...


DETECTORS: Final[Mapping[str, DetectorKind]] = {
    "tail": TailDetector,
    "mahalanobis": MahalanobisDetector,
}
