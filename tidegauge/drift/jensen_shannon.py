"""
Whether the distribution of a feature has changed: Jensen-Shannon divergence over the baseline's bins, missing included.

For a window of n rows from a distribution at divergence h from the reference, 8 n JS is close to a non-central
chi-squared with k - 1 degrees of freedom and non-centrality 8 n h (JS is an f-divergence with second derivative 1/4 at
equality; Pardo 2006, "Statistical Inference Based on Divergence Measures", section 3.4). The null is an interval: h up
to what the baseline's own sampling error reaches with probability 1 - level.baseline, or up to the minimum effect.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.chi_squared import inverse_survival, noncentral_survival
from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, WindowBins

PSEUDO_COUNT: Final = 0.5
"""
Added to each bin on both sides. A fixed tiny epsilon instead would make one empty bin decide the whole divergence.
"""


def jensen_shannon(bins: WindowBins, level: AlarmLevel) -> DriftResult:
    """Effect in nats, 0 ... ln 2. NotMeasured below min_count rows."""
    rows, reference_rows = int(bins.window.sum()), int(bins.reference.sum())
    if rows < bins.min_count:
        return NotMeasured(f"needs {bins.min_count} rows, the window has {rows}")
    divergence = _divergence(_shares(bins.reference), _shares(bins.window))
    df = len(bins.reference) - 1
    allowed = max(level.minimum_effect, inverse_survival(level.baseline, df) / (8 * reference_rows))
    statistic = 8 * rows * divergence / level.dispersion
    p_value = noncentral_survival(statistic, df, 8 * rows * allowed / level.dispersion)
    return Measured(statistic, p_value, level.window, divergence, "nats", p_value <= level.window)


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    smoothed = counts + PSEUDO_COUNT
    return np.asarray(smoothed / smoothed.sum())


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    middle = (p + q) / 2
    divergence = float((p * np.log(p / middle)).sum() + (q * np.log(q / middle)).sum()) / 2
    return max(divergence, 0.0)
