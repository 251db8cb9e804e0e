"""What a joint test is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.scoring.mahalanobis import MahalanobisDetector
from tidegauge.summaries.window_summary import WindowSummary

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """
    locations: effects of the location test, in standard deviations, of the features that have one. rows: of the window;
    min_count: how many a test needs. baseline: probability that the baseline's own sampling error may be larger than a
    test allows for. minimum_shift: in standard deviations. dispersion: of the features' locations, the largest, >= 1.
    """

    profile: BaselineProfile
    summary: WindowSummary
    locations: Mapping[str, float]
    rows: float
    min_count: int
    baseline: float
    minimum_shift: float
    dispersion: float = 1.0

    @cached_property
    def correlation(self) -> Array | None:
        """Of the baseline's rows nearest its centre, (features, features); None where it has none."""
        detector = self.profile.scoring.detectors.get("mahalanobis")
        return detector.correlation if isinstance(detector, MahalanobisDetector) else None
