"""
Whether a feature has moved: the mean of normal scores, one score per bin, against the baseline's.

A van der Waerden test (Lehmann 1975, "Nonparametrics", section 2.7) on binned data: a bin's score is the normal
quantile of the middle of its reference mass, so scores are bounded and heavy tails do no harm. The null is an interval,
as wide as the baseline's own sampling error with probability 1 - level.baseline, or as the minimum effect.
"""

from __future__ import annotations

import math

from tidegauge.drift import normal_tail
from tidegauge.drift.normal_scores import location_scores
from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def location(bins: WindowBins, level: AlarmLevel) -> DriftResult:
    """
    Effect in standard deviations of the reference's normal scores, signed. NotMeasured for categories, which have no
    order, below min_count values present, and where the reference is all in one bin.
    """
    if bins.kind == "categorical":
        return NotMeasured("categories have no location")
    if why := bins.why_values_are_too_few():
        return why
    scores = location_scores(bins.reference[:-1])
    if scores is None:
        return NotMeasured("the baseline's values are all in one bin")
    effect = float(scores @ bins.window[:-1]) / bins.values
    uncertainty = normal_tail.inverse_survival(level.baseline / 2) / math.sqrt(bins.reference_values)
    scale = math.sqrt(bins.values / level.dispersion)
    excess = max(abs(effect) - max(level.minimum_effect, uncertainty), 0.0) * scale
    log_p_value = min(normal_tail.log_survival(excess) + math.log(2), 0.0)
    return Measured(effect * scale, log_p_value, level.window, effect, "standard deviations", level.fixed)
