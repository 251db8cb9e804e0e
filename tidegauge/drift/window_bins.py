"""What every drift test is given: the features' bins in the baseline and in the window, and what an alarm may cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.references import References, gathered, smoothed
from tidegauge.drift.results import Array, Counts, NotMeasured, Reasons, first_reason, reasons
from tidegauge.errors import IncompatibleSummaries
from tidegauge.features import Kind


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


@dataclass(frozen=True)
class ComparedBins:
    """A window's bins beside the reference's. window: counts, features one after the other, as in the references."""

    references: References
    window: Counts

    @classmethod
    def of(cls, features: Sequence[FeatureBins]) -> ComparedBins:
        """features: at least one."""
        references = References(
            [feature.reference for feature in features],
            names=[feature.name for feature in features],
            kinds=[feature.kind for feature in features],
            positions=[feature.positions for feature in features],
        )
        return cls(references, np.concatenate([feature.window for feature in features]))

    def __len__(self) -> int:
        return len(self.references)

    @cached_property
    def features(self) -> list[FeatureBins]:
        of = self.references
        windows: Any = np.split(self.window, of.starts[1:])
        return list(map(FeatureBins, of.names, of.kinds, of.listed, windows, of.positions))

    @cached_property
    def rows(self) -> Array:
        """Of each feature."""
        return np.asarray(np.add.reduceat(self.window, self.references.starts), dtype=np.float64)


class WindowBins:
    """
    The bins of all features of a window, or of several windows, for tests that work on all at once: they know of
    features alone. Arrays of bins have the features' one after the other, as `sizes` and `starts` say; arrays of
    features have an entry per feature.
    """

    def __init__(self, windows: Sequence[ComparedBins], *, min_counts: Sequence[int]) -> None:
        """windows: at least one, of at least one feature. min_counts: as min_count, of each window."""
        self._windows = windows
        self._parts = [one.references for one in windows]
        lengths = [len(one) for one in windows]
        self.min_count: NDArray[np.int64] = np.repeat(min_counts, lengths)
        """Of each feature: rows, or values, without which a test does not measure."""
        self.window: Array = _together([one.window for one in windows])
        self.sizes = self._of_references(lambda one: one.sizes)
        self.starts: NDArray[np.int64] = np.cumsum(self.sizes) - self.sizes

    @classmethod
    def of(cls, features: Sequence[FeatureBins], *, min_count: int) -> WindowBins:
        """Of one window."""
        return cls([ComparedBins.of(features)], min_counts=[min_count])

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def features(self) -> list[FeatureBins]:
        return [feature for one in self._windows for feature in one.features]

    def sums(self, of_bins: NDArray[Any]) -> NDArray[Any]:
        """Of each feature's bins."""
        return np.asarray(np.add.reduceat(of_bins, self.starts))

    def spread(self, of_features: NDArray[Any]) -> NDArray[Any]:
        """Each feature's entry for each of its bins."""
        return np.repeat(of_features, self.sizes)

    @cached_property
    def reference(self) -> Array:
        return self._of_references(lambda one: one.counts)

    @cached_property
    def rows(self) -> Array:
        return self.sums(self.window)

    @cached_property
    def reference_rows(self) -> Array:
        return self._of_references(lambda one: one.rows)

    @cached_property
    def values(self) -> Array:
        """Rows of the window that have a value."""
        return np.asarray(self.rows - self.window[self.starts + self.sizes - 1])

    @cached_property
    def reference_values(self) -> Array:
        return self._of_references(lambda one: one.values)

    @cached_property
    def shares(self) -> Array:
        """Of the window, smoothed: all above 0."""
        return smoothed(self.window, self.rows, self.sizes)

    @cached_property
    def reference_shares(self) -> Array:
        return self._of_references(lambda one: one.shares)

    @cached_property
    def location_scores(self) -> Array:
        """Normal scores of the bins, 0 for missing values and for features that are not `located`."""
        return self._of_references(lambda one: one.location)

    @cached_property
    def located(self) -> NDArray[np.bool_]:
        """Features whose reference is not all in one bin."""
        return self._of_references(lambda one: one.located)

    @cached_property
    def cumulative_gaps(self) -> Array:
        """
        (features, widest): share of the window's values up to each bin, less the reference's. 0 beyond a feature's
        bins, for all of a feature without order.
        """
        places = self._places
        rows = np.zeros(places.shape)
        rows[places] = self.window[self._of_references(lambda one: one.placed)]
        window = np.cumsum(rows, axis=1) / np.maximum(self.values, 1)[:, None]
        return np.where(places, window - self._of_references(lambda one: one.cumulative), 0.0)

    @cached_property
    def positions(self) -> Array:
        """(features, widest): where the bins stand; beyond a feature's bins the last one."""
        return self._of_references(lambda one: one.standing)

    @cached_property
    def reference_deviations(self) -> Array:
        """Standard deviations of the positions of the reference's values."""
        return self._of_references(lambda one: one.deviation)

    @cached_property
    def too_few_rows(self) -> Reasons:
        few = np.flatnonzero(self.rows < self.min_count).tolist()
        return {at: NotMeasured(f"needs {self.min_count[at]} rows, the window has {self.rows[at]:.0f}") for at in few}

    @cached_property
    def too_few_values(self) -> Reasons:
        few = np.flatnonzero(self.values < self.min_count).tolist()
        return first_reason(
            {at: NotMeasured(f"needs {self.min_count[at]} values, the window has {self.values[at]:.0f}") for at in few},
            reasons(self.reference_values == 0, NotMeasured("the baseline has no values")),
        )

    def without_order(self, why: str) -> Reasons:
        return reasons(~self._ordered, NotMeasured(why))

    @cached_property
    def _ordered(self) -> NDArray[np.bool_]:
        return self._of_references(lambda one: one.ordered)

    @cached_property
    def _places(self) -> NDArray[np.bool_]:
        """(features, widest): whether a bin of values is there."""
        values = np.where(self._ordered, self.sizes - 1, 0)
        return np.asarray(np.arange(max(int(values.max()), 1)) < values[:, None])

    def _of_references(self, of: Callable[[References], NDArray[Any]]) -> NDArray[Any]:
        return gathered(self._parts, of)


def _together(windows: Sequence[Counts]) -> Array:
    return np.concatenate(windows).astype(np.float64)


@dataclass(frozen=True, slots=True)
class AlarmLevel:
    """
    window: probability of a false alarm that one test of one feature in one window may spend; 0 while nothing may be
    spent, None for a test that does not decide by its p-value. baseline: the same for the baseline's own sampling
    error, which every window shares and which is therefore paid once. minimum_effect: in the test's unit. dispersion:
    variance of a window's counts relative to independent rows, >= 1. fixed: size of the effect from which the user
    calls it drift, whatever the p-value; None or NaN where there is none.

    Each of all features or, as an array, of each.
    """

    window: float | Array | None
    baseline: float | Array
    minimum_effect: float | Array
    dispersion: float | Array = 1.0
    fixed: float | Array | None = None

    def scaled(self, dispersion: float | Array) -> AlarmLevel:
        return AlarmLevel(self.window, self.baseline, self.minimum_effect, dispersion, self.fixed)

    def of(self, at: int) -> AlarmLevel:
        """One feature's, in plain numbers."""
        fixed = None if self.fixed is None else _at(self.fixed, at)
        return AlarmLevel(
            None if self.window is None else _at(self.window, at),
            _at(self.baseline, at),
            _at(self.minimum_effect, at),
            _at(self.dispersion, at),
            None if fixed is None or math.isnan(fixed) else fixed,
        )


def _at(of_features: float | Array, at: int) -> float:
    return float(of_features[at]) if isinstance(of_features, np.ndarray) else of_features


def stacked(levels: Sequence[AlarmLevel], lengths: Sequence[int]) -> AlarmLevel:
    """The levels of one test in several windows as one, of each feature. lengths: features of the windows."""

    def of_each(values: Sequence[float | Array]) -> float | Array:
        if not any(isinstance(value, np.ndarray) for value in values) and len(set(values)) == 1:
            return values[0]
        described = zip(values, lengths, strict=True)
        return np.concatenate(
            [one if isinstance(one, np.ndarray) else np.full(length, one) for one, length in described]
        )

    windows = [level.window for level in levels if level.window is not None]
    return AlarmLevel(
        window=of_each(windows) if windows else None,
        baseline=of_each([level.baseline for level in levels]),
        minimum_effect=of_each([level.minimum_effect for level in levels]),
        dispersion=of_each([level.dispersion for level in levels]),
        fixed=of_each([math.nan if level.fixed is None else level.fixed for level in levels]),
    )
