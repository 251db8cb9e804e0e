"""
The interval null that all divergences over bins share.

For a window of n rows from a distribution at Jensen-Shannon divergence h from the reference, 8 n JS is close to a
non-central chi-squared with k - 1 degrees of freedom and non-centrality 8 n h (JS is an f-divergence with second
derivative 1/4 at equality; Pardo 2006, "Statistical Inference Based on Divergence Measures", section 3.4). n PSI,
2 n KL and 8 n H^2 are close to the same variable: one test, five times. h goes up to what the baseline's own sampling
error reaches with probability 1 - level.baseline, or up to the minimum effect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.chi_squared import inverse_survivals
from tidegauge.drift.results import Array, ChiSquaredTail, Findings, Reasons
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def findings(
    bins: WindowBins,
    level: AlarmLevel,
    *,
    divergence: Array,
    minimum: float | Array,
    effect: Array,
    unit: str,
    empty_bins: NDArray[np.int64] | int = 0,
    why: Reasons | None = None,
) -> Findings:
    """
    divergence, minimum: what was found and the minimum effect, both as nats of Jensen-Shannon. empty_bins: how many the
    statistic leaves out. why: by default, too few rows.
    """
    uncertainty = inverse_survivals(level.baseline, bins.sizes - 1) / (8 * np.maximum(bins.reference_rows, 1))
    scale = 8 * bins.rows / level.dispersion
    df = np.maximum(bins.sizes - 1 - empty_bins, 1)
    null = ChiSquaredTail(df, scale * np.maximum(minimum, uncertainty))
    return Findings(scale * divergence, null, effect, unit, bins.too_few_rows if why is None else why)
