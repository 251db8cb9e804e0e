"""
Wasserstein-1 distance over the baseline's bins: how far the values have moved on average, in the feature's own unit.

Each bin's values are taken to stand at its position, those beyond the reference's range at its ends, so the distance
ends there, too. The p-value takes the distance for that of two means with the bins' standard deviation s, times 1.5 for
what else than the mean may move: simulation found that to be enough at every level.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from tidegauge.drift import normal_tail
from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, WindowBins

_TAILS: Final = 3.0
"""Two sides, times 1.5."""


def wasserstein(bins: WindowBins, level: AlarmLevel) -> DriftResult:
    """
    minimum_effect: in the baseline's standard deviations, s. NotMeasured for categories, below min_count values, and
    where the baseline has one value only.
    """
    if bins.kind == "categorical" or bins.positions is None:
        return NotMeasured("categories have no distance")
    if why := bins.why_values_are_too_few():
        return why
    distance = float(np.abs(bins.cumulative_gaps[:-1]) @ np.diff(bins.positions))
    weights = bins.reference[:-1] / bins.reference_values
    centred = bins.positions - weights @ bins.positions
    spread = math.sqrt(float(weights @ centred**2))
    if not spread > 0 or not math.isfinite(distance):
        return NotMeasured("the baseline's values have no spread that could be told")
    uncertainty = normal_tail.inverse_survival(level.baseline / _TAILS) / math.sqrt(bins.reference_values)
    scale = math.sqrt(bins.values / level.dispersion)
    excess = max(distance / spread - max(level.minimum_effect, uncertainty), 0.0) * scale
    log_p_value = min(normal_tail.log_survival(excess) + math.log(_TAILS), 0.0)
    return Measured(distance / spread * scale, log_p_value, level.window, distance, "as the feature", level.fixed)
