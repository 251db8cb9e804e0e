"""What every drift test is given: the features' bins in the baseline and in the window, and what an alarm may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.results import NotMeasured, Reasons
from tidegauge.errors import IncompatibleSummaries
from tidegauge.features import Kind

Counts = NDArray[np.int64] | NDArray[np.float64]
Array = NDArray[np.float64]

PSEUDO_COUNT: Final = 0.5
"""
Added to each bin on both sides. A fixed tiny epsilon instead would make one empty bin decide a whole divergence.
"""


@dataclass(frozen=True)
class FeatureBins:
    """
    One feature, or one output of the model. reference, window: counts of the same bins, the last one for missing
    values; weighted ones scaled to the effective number of rows. positions: where each bin but the last stands, in the
    feature's unit, the two beyond the reference's range at its ends; None for categories.
    """

    name: str
    kind: Kind
    reference: Counts
    window: Counts
    positions: Array | None = None

    def __post_init__(self) -> None:
        if len(self.reference) != len(self.window):
            raise IncompatibleSummaries("bins", len(self.reference), len(self.window))

    @cached_property
    def rows(self) -> float:
        """Of the window."""
        return float(self.window.sum())

    @cached_property
    def values(self) -> float:
        """Rows of the window that have a value."""
        return self.rows - float(self.window[-1])

    @cached_property
    def reference_rows(self) -> float:
        return float(self.reference.sum())

    @cached_property
    def reference_values(self) -> float:
        return self.reference_rows - float(self.reference[-1])


class WindowBins:
    """
    The bins of all features, for tests that work on all at once. Arrays of bins have the features' one after the other,
    as `sizes` and `starts` say; arrays of features have an entry per feature.
    """

    def __init__(self, features: Sequence[FeatureBins], *, min_count: int) -> None:
        """features: at least one. min_count: rows, or values, without which a test does not measure."""
        self.features = features
        self.min_count = min_count
        self.reference: Array = np.concatenate([feature.reference for feature in features]).astype(np.float64)
        self.window: Array = np.concatenate([feature.window for feature in features]).astype(np.float64)
        self.sizes = np.array([len(feature.reference) for feature in features])
        self.starts = np.cumsum(self.sizes) - self.sizes

    def sums(self, of_bins: NDArray[Any]) -> NDArray[Any]:
        """Of each feature's bins."""
        return np.asarray(np.add.reduceat(of_bins, self.starts))

    def spread(self, of_features: NDArray[Any]) -> NDArray[Any]:
        """Each feature's entry for each of its bins."""
        return np.repeat(of_features, self.sizes)

    @cached_property
    def ordered(self) -> NDArray[np.bool_]:
        """Features whose bins have an order: all but categories."""
        return np.array([feature.kind != "categorical" for feature in self.features])

    @cached_property
    def rows(self) -> Array:
        return self.sums(self.window)

    @cached_property
    def reference_rows(self) -> Array:
        return self.sums(self.reference)

    @cached_property
    def values(self) -> Array:
        """Rows of the window that have a value."""
        return np.asarray(self.rows - self.window[self.starts + self.sizes - 1])

    @cached_property
    def reference_values(self) -> Array:
        return np.asarray(self.reference_rows - self.reference[self.starts + self.sizes - 1])

    @cached_property
    def shares(self) -> Array:
        """Of the window, smoothed: all above 0."""
        return self._smoothed(self.window, self.rows)

    @cached_property
    def reference_shares(self) -> Array:
        return self._smoothed(self.reference, self.reference_rows)

    def _smoothed(self, counts: Array, rows: Array) -> Array:
        return np.asarray((counts + PSEUDO_COUNT) / self.spread(rows + PSEUDO_COUNT * self.sizes))

    @cached_property
    def cumulative_gaps(self) -> Array:
        """
        (features, widest): share of the window's values up to each bin, less the reference's. 0 beyond a feature's
        bins, for all of a feature without order.
        """
        window = np.cumsum(self.in_rows(self.window), axis=1) / np.maximum(self.values, 1)[:, None]
        reference = np.cumsum(self.in_rows(self.reference), axis=1) / np.maximum(self.reference_values, 1)[:, None]
        return np.where(self._is_place, window - reference, 0.0)

    def in_rows(self, of_bins: Array) -> Array:
        """(features, widest), 0 for missing values and beyond a feature's bins, for all of a feature without order."""
        rows = np.zeros(self._is_place.shape)
        rows[self._is_place] = of_bins[self._of_values]
        return rows

    @cached_property
    def positions(self) -> Array:
        """(features, widest); beyond a feature's bins the last one."""
        known = [f.positions if f.kind != "categorical" else None for f in self.features]
        rows = np.zeros(self._is_place.shape)
        for row, positions in zip(rows, known, strict=True):
            if positions is not None and len(positions):
                row[: len(positions)] = positions
                row[len(positions) :] = positions[-1]
        return rows

    @cached_property
    def _is_place(self) -> NDArray[np.bool_]:
        values = np.where(self.ordered, self.sizes - 1, 0)
        return np.asarray(np.arange(max(int(values.max()), 1)) < values[:, None])

    @cached_property
    def _of_values(self) -> NDArray[np.bool_]:
        """Which bins are places of values that have an order."""
        chosen = self.spread(self.ordered)
        chosen[self.starts + self.sizes - 1] = False
        return chosen

    @cached_property
    def too_few_rows(self) -> Reasons:
        return [
            NotMeasured(f"needs {self.min_count} rows, the window has {rows:.0f}") if rows < self.min_count else None
            for rows in self.rows.tolist()
        ]

    @cached_property
    def too_few_values(self) -> Reasons:
        of_both = zip(self.values.tolist(), self.reference_values.tolist(), strict=True)
        return [self._why_too_few(values, reference) for values, reference in of_both]

    def _why_too_few(self, values: float, reference: float) -> NotMeasured | None:
        if values < self.min_count:
            return NotMeasured(f"needs {self.min_count} values, the window has {values:.0f}")
        return None if reference else NotMeasured("the baseline has no values")

    def without_order(self, why: str) -> Reasons:
        reason = NotMeasured(why)
        return [None if ordered else reason for ordered in self.ordered.tolist()]


@dataclass(frozen=True, slots=True)
class AlarmLevel:
    """
    window: probability of a false alarm that one test of one feature in one window may spend; 0 while nothing may be
    spent, None for a test that does not decide by its p-value. baseline: the same for the baseline's own sampling
    error, which every window shares and which is therefore paid once. minimum_effect: in the test's unit. dispersion:
    variance of a window's counts relative to independent rows, >= 1, of all features or of each. fixed: size of the
    effect from which the user calls it drift, whatever the p-value.
    """

    window: float | None
    baseline: float
    minimum_effect: float
    dispersion: float | Array = 1.0
    fixed: float | None = None

    def scaled(self, dispersion: float | Array) -> AlarmLevel:
        return replace(self, dispersion=dispersion)
