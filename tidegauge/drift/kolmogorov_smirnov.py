"""
Kolmogorov-Smirnov distance over the baseline's bins.

The p-value is by the inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant (1990), good for every n and
conservative for binned data; the baseline's own distance from the truth is bounded by the same inequality.
"""

from __future__ import annotations

import math

import numpy as np

from tidegauge.drift.results import Findings, first_reason
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def kolmogorov_smirnov(bins: WindowBins, level: AlarmLevel) -> Findings:
    """
    Effect: the largest gap between the two cumulative shares, 0 ... 1, of the values present. NotMeasured for
    categories, which have no order, and below min_count values.
    """
    gap = np.abs(bins.cumulative_gaps).max(axis=1)
    uncertainty = np.sqrt(np.log(2 / level.baseline) / (2 * np.maximum(bins.reference_values, 1)))
    rows = bins.values / level.dispersion
    excess = np.maximum(gap - np.maximum(level.minimum_effect, uncertainty), 0.0)
    return Findings(
        statistic=gap * np.sqrt(rows),
        log_p_value=np.minimum(math.log(2) - 2 * rows * excess**2, 0.0),
        effect=gap,
        unit="of the values",
        why=first_reason(bins.without_order("categories have no order"), bins.too_few_values),
    )
