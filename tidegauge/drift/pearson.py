"""Pearson's chi-squared over the baseline's bins, where its approximation can be trusted."""

from __future__ import annotations

from typing import Final

import numpy as np

from tidegauge.drift.divergence_null import measured
from tidegauge.drift.results import DriftResult, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, WindowBins

LEAST_EXPECTED: Final = 10.0
"""With small expected counts the statistic exceeded its level up to 1,700 times in simulation."""


def pearson(bins: WindowBins, level: AlarmLevel) -> DriftResult:
    """
    Effect: the statistic of independent rows / rows, >= 0, without unit. NotMeasured below min_count rows, and where a
    bin that baseline or window have rows in is expected to have 10 or fewer.
    """
    if why := bins.why_rows_are_too_few():
        return why
    used = (bins.reference > 0) | (bins.window > 0)
    expected = bins.reference[used] * (bins.rows / bins.reference_rows)
    if expected.min() <= LEAST_EXPECTED:
        return NotMeasured(
            f"needs more than {LEAST_EXPECTED:g} expected rows in every bin, one has {expected.min():.3g}"
        )
    found = float(np.sum((bins.window[used] - expected) ** 2 / expected)) / bins.rows
    return measured(
        bins,
        level,
        divergence=found / 8,
        minimum=level.minimum_effect / 8,
        effect=found,
        unit="",
        empty_bins=len(used) - len(expected),
    )
