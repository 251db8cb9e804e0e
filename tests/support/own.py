"""Drift tests and a statistic as users may write them, good ones and bad ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.own import Finding, share_changed
from tidegauge.drift.results import NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, FeatureBins

Array = NDArray[np.float64]


def upper_tail(bins: FeatureBins, level: AlarmLevel) -> Finding | NotMeasured:
    """Whether more or fewer values lie beyond the baseline's 95th percentile."""
    if bins.kind == "categorical":
        return NotMeasured("categories have no order")
    below = np.cumsum(bins.reference[:-1]) <= 0.95 * bins.reference_values
    return share_changed(bins, np.append(~below, False), level)


def largest_gap(bins: FeatureBins, _level: AlarmLevel) -> Finding:
    """Reported without a p-value."""
    gaps = bins.window / bins.rows - bins.reference / bins.reference_rows
    return Finding(float(np.abs(gaps).max()), "share of the rows")


def broken(bins: FeatureBins, _level: AlarmLevel) -> Finding:
    if bins.name == "height":
        raise ZeroDivisionError("of two\nlines")
    return Finding(0.5, "")


class WholeNumbers:
    """Share of the values that are whole numbers: it jumps where somebody begins to round."""

    def terms(self, values: Array) -> Array:
        return np.asarray(values == np.floor(values))

    def value(self, sums: Array, rows: float) -> float:
        return float(sums[0] / rows)


class LogMean:
    """-inf where a value is 0."""

    def terms(self, values: Array) -> Array:
        return np.log(np.abs(values))[:, None]

    def value(self, sums: Array, rows: float) -> float:
        return float(sums[0] / rows)


class Late:
    """Fails only with the window's sums."""

    def terms(self, values: Array) -> Array:
        return np.ones((len(values), 2))

    def value(self, sums: Array, rows: float) -> float:
        raise KeyError(f"{len(sums)} sums")


class Unmade(WholeNumbers):
    def __init__(self, needed: int) -> None:
        self.needed = needed
