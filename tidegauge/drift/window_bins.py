"""What every drift test is given: one feature's bins in the baseline and in the window, and what an alarm may cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import IncompatibleSummaries
from tidegauge.features import Kind

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WindowBins:
    """reference, window: counts of the same bins, the last one for missing values."""

    kind: Kind
    reference: Counts
    window: Counts
    min_count: int

    def __post_init__(self) -> None:
        if len(self.reference) != len(self.window):
            raise IncompatibleSummaries("bins", len(self.reference), len(self.window))


@dataclass(frozen=True, slots=True)
class AlarmLevel:
    """
    window: probability of a false alarm that one test of one feature in one window may spend. baseline: the same for
    the baseline's own sampling error, which every window shares and which is therefore paid once. minimum_effect: in
    the test's unit. dispersion: variance of a window's counts relative to independent rows, >= 1.
    """

    window: float
    baseline: float
    minimum_effect: float
    dispersion: float = 1.0
