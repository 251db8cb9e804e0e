"""Kullback-Leibler divergence of the window from the baseline over its bins."""

from __future__ import annotations

import numpy as np

from tidegauge.drift.divergence_null import findings
from tidegauge.drift.results import Findings
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def kullback_leibler(bins: WindowBins, level: AlarmLevel) -> Findings:
    """Effect in nats, >= 0: what it costs to take the window for the baseline. NotMeasured below min_count rows."""
    nats = np.maximum(bins.sums(bins.shares * np.log(bins.shares / bins.reference_shares)), 0.0)
    return findings(bins, level, divergence=nats / 4, minimum=level.minimum_effect / 4, effect=nats, unit="nats")
