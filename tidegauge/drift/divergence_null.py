"""
The interval null that all divergences over bins share.

For a window of n rows from a distribution at Jensen-Shannon divergence h from the reference, 8 n JS is close to a
non-central chi-squared with k - 1 degrees of freedom and non-centrality 8 n h (JS is an f-divergence with second
derivative 1/4 at equality; Pardo 2006, "Statistical Inference Based on Divergence Measures", section 3.4). n PSI,
2 n KL and 8 n H^2 are close to the same variable: one test, five times. h goes up to what the baseline's own sampling
error reaches with probability 1 - level.baseline, or up to the minimum effect.
"""

from __future__ import annotations

from tidegauge.drift.chi_squared import inverse_survival, log_survival
from tidegauge.drift.results import Measured
from tidegauge.drift.window_bins import AlarmLevel, WindowBins


def measured(
    bins: WindowBins,
    level: AlarmLevel,
    *,
    divergence: float,
    minimum: float,
    effect: float,
    unit: str,
    empty_bins: int = 0,
) -> Measured:
    """
    divergence, minimum: what was found and the minimum effect, both as nats of Jensen-Shannon. empty_bins: how many the
    statistic leaves out.
    """
    df = max(len(bins.reference) - 1 - empty_bins, 1)
    allowed = max(minimum, inverse_survival(level.baseline, len(bins.reference) - 1) / (8 * bins.reference_rows))
    scale = 8 * bins.rows / level.dispersion
    statistic = scale * divergence
    return Measured(statistic, log_survival(statistic, df, scale * allowed), level.window, effect, unit, level.fixed)
