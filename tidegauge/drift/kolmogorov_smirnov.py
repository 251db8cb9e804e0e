"""
Kolmogorov-Smirnov distance over the baseline's bins.

The p-value is by the inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant (1990), good for every n and
conservative for binned data; the baseline's own distance from the truth is bounded by the same inequality.
"""

from __future__ import annotations

import math

import numpy as np

from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def kolmogorov_smirnov(bins: WindowBins, level: AlarmLevel) -> DriftResult:
    """
    Effect: the largest gap between the two cumulative shares, 0 ... 1, of the values present. NotMeasured for
    categories, which have no order, and below min_count values.
    """
    if bins.kind == "categorical":
        return NotMeasured("categories have no order")
    if why := bins.why_values_are_too_few():
        return why
    gap = float(np.abs(bins.cumulative_gaps).max())
    uncertainty = math.sqrt(math.log(2 / level.baseline) / (2 * bins.reference_values))
    rows = bins.values / level.dispersion
    excess = max(gap - max(level.minimum_effect, uncertainty), 0.0)
    log_p_value = min(math.log(2) - 2 * rows * excess**2, 0.0)
    return Measured(gap * math.sqrt(rows), log_p_value, level.window, gap, "of the values", level.fixed)
