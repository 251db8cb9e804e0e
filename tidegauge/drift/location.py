"""
Whether a feature has moved: the mean of normal scores, one score per bin, against the baseline's.

A van der Waerden test (Lehmann 1975, "Nonparametrics", section 2.7) on binned data: a bin's score is the normal
quantile of the middle of its reference mass, so scores are bounded and heavy tails do no harm. The null is an interval,
as wide as the baseline's own sampling error with probability 1 - level.baseline, or as the minimum effect.
"""

from __future__ import annotations

import math

import numpy as np

from tidegauge.drift import normal_tail
from tidegauge.drift.results import Findings, NotMeasured, first_reason, reasons
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def location(bins: WindowBins, level: AlarmLevel) -> Findings:
    """
    Effect in standard deviations of the reference's normal scores, signed. NotMeasured for categories, which have no
    order, below min_count values present, and where the reference is all in one bin.
    """
    effect = bins.sums(bins.location_scores * bins.window) / np.maximum(bins.values, 1)
    uncertainty = normal_tail.inverse_survivals(level.baseline / 2) / np.sqrt(np.maximum(bins.reference_values, 1))
    scale = np.sqrt(bins.values / level.dispersion)
    excess = np.maximum(np.abs(effect) - np.maximum(level.minimum_effect, uncertainty), 0.0) * scale
    return Findings(
        statistic=effect * scale,
        log_p_value=np.minimum(normal_tail.log_survivals(excess) + math.log(2), 0.0),
        effect=effect,
        unit="standard deviations",
        why=first_reason(
            bins.without_order("categories have no location"),
            bins.too_few_values,
            reasons(~bins.located, NotMeasured("the baseline's values are all in one bin")),
        ),
    )
