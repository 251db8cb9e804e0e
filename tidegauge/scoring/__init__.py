"""The inline outlier detectors that a monitor may name. A new one is a class of the same shape and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegauge.features import FeatureSchema
from tidegauge.scoring.mahalanobis import MahalanobisDetector
from tidegauge.scoring.tail import TailDetector


class Detector(Protocol):
    """Fitted on reference rows; scores each row alone; the larger the score, the less like the reference."""

    def score(self, matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores (rows,) and per-feature contributions (rows, features), >= 0, for float64 (rows, features)."""

    def to_document(self) -> dict[str, object]: ...


class DetectorKind(Protocol):
    def fit(self, matrix: NDArray[np.float64], schema: FeatureSchema) -> Detector: ...

    def from_document(self, document: Any, schema: FeatureSchema) -> Detector: ...


DETECTORS: Final[Mapping[str, DetectorKind]] = {
    "tail": TailDetector,
    "mahalanobis": MahalanobisDetector,
}
