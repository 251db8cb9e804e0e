"""The population stability index over the baseline's bins: Kullback-Leibler in both directions."""

from __future__ import annotations

import numpy as np

from tidegauge.drift.divergence_null import findings
from tidegauge.drift.results import Findings
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def population_stability(bins: WindowBins, level: AlarmLevel) -> Findings:
    """Effect in nats, >= 0. NotMeasured below min_count rows."""
    p, q = bins.reference_shares, bins.shares
    psi = bins.sums((q - p) * np.log(q / p))
    return findings(bins, level, divergence=psi / 8, minimum=level.minimum_effect / 8, effect=psi, unit="nats")
