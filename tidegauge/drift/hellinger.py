"""Hellinger distance over the baseline's bins."""

from __future__ import annotations

import math

import numpy as np

from tidegauge.drift.divergence_null import measured
from tidegauge.drift.results import DriftResult
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def hellinger(bins: WindowBins, level: AlarmLevel) -> DriftResult:
    """Effect 0 ... 1, where 1 means no bin in common. NotMeasured below min_count rows."""
    if why := bins.why_rows_are_too_few():
        return why
    gaps = np.sqrt(bins.shares) - np.sqrt(bins.reference_shares)
    squared = float(gaps @ gaps) / 2
    return measured(
        bins,
        level,
        divergence=squared,
        minimum=level.minimum_effect**2,
        effect=math.sqrt(squared),
        unit="of the largest distance",
    )
