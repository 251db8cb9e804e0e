"""Whether the distribution of a feature has changed: Jensen-Shannon divergence over the baseline's bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.divergence_null import measured
from tidegauge.drift.results import DriftResult
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def jensen_shannon(bins: WindowBins, level: AlarmLevel) -> DriftResult:
    """Effect in nats, 0 ... ln 2, missing values among the bins. NotMeasured below min_count rows."""
    if why := bins.why_rows_are_too_few():
        return why
    found = max(float(divergence_parts(bins.reference_shares, bins.shares).sum()), 0.0)
    return measured(bins, level, divergence=found, minimum=level.minimum_effect, effect=found, unit="nats")


def divergence_parts(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each bin adds to the divergence of two lists of shares, all above 0."""
    middle = (p + q) / 2
    return np.asarray((p * np.log(p / middle) + q * np.log(q / middle)) / 2)
