"""The population stability index over the baseline's bins: Kullback-Leibler in both directions."""

from __future__ import annotations

import numpy as np

from tidegauge.drift.divergence_null import measured
from tidegauge.drift.results import DriftResult
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def population_stability(bins: WindowBins, level: AlarmLevel) -> DriftResult:
    """Effect in nats, >= 0. NotMeasured below min_count rows."""
    if why := bins.why_rows_are_too_few():
        return why
    p, q = bins.reference_shares, bins.shares
    psi = float((q - p) @ np.log(q / p))
    return measured(bins, level, divergence=psi / 8, minimum=level.minimum_effect / 8, effect=psi, unit="nats")
