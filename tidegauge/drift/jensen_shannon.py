"""Whether the distribution of a feature has changed: Jensen-Shannon divergence over the baseline's bins."""

from __future__ import annotations

import numpy as np

from tidegauge.drift.divergence_null import findings
from tidegauge.drift.results import Array, Findings
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def jensen_shannon(bins: WindowBins, level: AlarmLevel) -> Findings:
    """Effect in nats, 0 ... ln 2, missing values among the bins. NotMeasured below min_count rows."""
    found = np.maximum(bins.sums(divergence_parts(bins.reference_shares, bins.shares)), 0.0)
    return findings(bins, level, divergence=found, minimum=level.minimum_effect, effect=found, unit="nats")


def divergence_parts(p: Array, q: Array) -> Array:
    """What each bin adds to the divergence of two lists of shares, all above 0."""
    middle = (p + q) / 2
    return np.asarray((p * np.log(p / middle) + q * np.log(q / middle)) / 2)
