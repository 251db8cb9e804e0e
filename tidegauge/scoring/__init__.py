"""The inline outlier detectors that a monitor may name. A new one is a class of the same shape and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tidegauge.scoring.detector import DetectorKind
from tidegauge.scoring.isolation_forest import IsolationForestDetector
from tidegauge.scoring.mahalanobis import MahalanobisDetector
from tidegauge.scoring.tail import TailDetector

DETECTORS: Final[Mapping[str, DetectorKind]] = {
    "tail": TailDetector,
    "mahalanobis": MahalanobisDetector,
    "isolation_forest": IsolationForestDetector,
}
