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
from tidegauge.drift.results import Findings, NotMeasured, first_reason, reasons
from tidegauge.drift.window_bins import AlarmLevel, WindowBins

_TAILS: Final = 3.0
"""Two sides, times 1.5."""


def wasserstein(bins: WindowBins, level: AlarmLevel) -> Findings:
    """
    minimum_effect: in the baseline's standard deviations, s. NotMeasured for categories, below min_count values, and
    where the baseline has one value only.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of positions near the largest number: not measured, below
        distance = (np.abs(bins.cumulative_gaps[:, :-1]) * np.diff(bins.positions, axis=1)).sum(axis=1)
    spread = bins.reference_deviations
    usable = (spread > 0) & np.isfinite(distance)
    uncertainty = normal_tail.inverse_survivals(level.baseline / _TAILS) / np.sqrt(np.maximum(bins.reference_values, 1))
    scale = np.sqrt(bins.values / level.dispersion)
    relative = np.where(usable, distance, 0.0) / np.where(usable, spread, 1.0)
    excess = np.maximum(relative - np.maximum(level.minimum_effect, uncertainty), 0.0) * scale
    return Findings(
        statistic=relative * scale,
        log_p_value=np.minimum(normal_tail.log_survivals(excess) + math.log(_TAILS), 0.0),
        effect=distance,
        unit="as the feature",
        why=first_reason(
            bins.without_order("categories have no distance"),
            bins.too_few_values,
            reasons(~usable, NotMeasured("the baseline's values have no spread that could be told")),
        ),
    )
