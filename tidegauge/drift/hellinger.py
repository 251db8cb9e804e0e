"""Hellinger distance over the baseline's bins."""

from __future__ import annotations

import numpy as np

from tidegauge.drift.divergence_null import findings
from tidegauge.drift.results import Findings
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def hellinger(bins: WindowBins, level: AlarmLevel) -> Findings:
    """Effect 0 ... 1, where 1 means no bin in common. NotMeasured below min_count rows."""
    gaps = np.sqrt(bins.shares) - np.sqrt(bins.reference_shares)
    squared = bins.sums(gaps * gaps) / 2
    return findings(
        bins,
        level,
        divergence=squared,
        minimum=level.minimum_effect**2,
        effect=np.sqrt(squared),
        unit="of the largest distance",
    )
