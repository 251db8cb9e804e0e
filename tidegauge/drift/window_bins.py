"""What every drift test is given: one feature's bins in the baseline and in the window, and what an alarm may cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.results import NotMeasured
from tidegauge.errors import IncompatibleSummaries
from tidegauge.features import Kind

Counts = NDArray[np.int64] | NDArray[np.float64]

PSEUDO_COUNT: Final = 0.5
"""
Added to each bin on both sides. A fixed tiny epsilon instead would make one empty bin decide a whole divergence.
"""


@dataclass(frozen=True)
class WindowBins:
    """
    reference, window: counts of the same bins, the last one for missing values; weighted ones scaled to the effective
    number of rows. positions: where each bin but the last stands, in the feature's unit, the two beyond the
    reference's range at its ends; None for categories, and where nobody asks for a distance in that unit.
    """

    kind: Kind
    reference: Counts
    window: Counts
    min_count: int
    positions: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if len(self.reference) != len(self.window):
            raise IncompatibleSummaries("bins", len(self.reference), len(self.window))

    @cached_property
    def rows(self) -> float:
        return float(self.window.sum())

    @cached_property
    def reference_rows(self) -> float:
        return float(self.reference.sum())

    @cached_property
    def values(self) -> float:
        """Rows of the window that have a value."""
        return self.rows - float(self.window[-1])

    @cached_property
    def reference_values(self) -> float:
        return self.reference_rows - float(self.reference[-1])

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Of the window, smoothed: all above 0."""
        return smoothed_shares(self.window)

    @cached_property
    def reference_shares(self) -> NDArray[np.float64]:
        return smoothed_shares(self.reference)

    @cached_property
    def cumulative_gaps(self) -> NDArray[np.float64]:
        """Share of the window's values up to each bin, less the reference's; values of both there must be."""
        return np.asarray(
            np.cumsum(self.window[:-1]) / self.values - np.cumsum(self.reference[:-1]) / self.reference_values
        )

    def why_rows_are_too_few(self) -> NotMeasured | None:
        if self.rows < self.min_count:
            return NotMeasured(f"needs {self.min_count} rows, the window has {self.rows:.0f}")
        return None

    def why_values_are_too_few(self) -> NotMeasured | None:
        if self.values < self.min_count:
            return NotMeasured(f"needs {self.min_count} values, the window has {self.values:.0f}")
        if not self.reference_values:
            return NotMeasured("the baseline has no values")
        return None


@dataclass(frozen=True, slots=True)
class AlarmLevel:
    """
    window: probability of a false alarm that one test of one feature in one window may spend; 0 while nothing may be
    spent, None for a test that does not decide by its p-value. baseline: the same for the baseline's own sampling
    error, which every window shares and which is therefore paid once. minimum_effect: in the test's unit. dispersion:
    variance of a window's counts relative to independent rows, >= 1. fixed: size of the effect from which the user
    calls it drift, whatever the p-value.
    """

    window: float | None
    baseline: float
    minimum_effect: float
    dispersion: float = 1.0
    fixed: float | None = None

    def scaled(self, dispersion: float) -> AlarmLevel:
        return AlarmLevel(self.window, self.baseline, self.minimum_effect, dispersion, self.fixed)


def smoothed_shares(counts: Counts) -> NDArray[np.float64]:
    smoothed = counts + PSEUDO_COUNT
    return np.asarray(smoothed / smoothed.sum(axis=-1, keepdims=True))
