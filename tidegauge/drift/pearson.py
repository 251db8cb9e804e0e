"""Pearson's chi-squared over the baseline's bins, where its approximation can be trusted."""

from __future__ import annotations

from typing import Final

import numpy as np

from tidegauge.drift.divergence_null import findings
from tidegauge.drift.results import Array, Findings, NotMeasured, Reasons, first_reason
from tidegauge.drift.window_bins import AlarmLevel, WindowBins

LEAST_EXPECTED: Final = 10.0
"""With small expected counts the statistic exceeded its level up to 1,700 times in simulation."""


def pearson(bins: WindowBins, level: AlarmLevel) -> Findings:
    """
    Effect: the statistic of independent rows / rows, >= 0, without unit. NotMeasured below min_count rows, and where a
    bin that baseline or window have rows in is expected to have 10 or fewer.
    """
    used = (bins.reference > 0) | (bins.window > 0)
    expected = bins.reference * bins.spread(bins.rows / np.maximum(bins.reference_rows, 1))
    least = np.minimum.reduceat(np.where(used, expected, np.inf), bins.starts)
    # Not measured where an expected count is 0 or next to it: what is put in its place is seen by nobody.
    parts = np.where(used, (bins.window - expected) ** 2 / np.maximum(expected, 1.0), 0.0)
    found = bins.sums(parts) / np.maximum(bins.rows, 1)
    return findings(
        bins,
        level,
        divergence=found / 8,
        minimum=level.minimum_effect / 8,
        effect=found,
        unit="",
        empty_bins=bins.sizes - bins.sums(used.astype(np.int64)),
        why=first_reason(bins.too_few_rows, _too_few_expected(least)),
    )


def _too_few_expected(least: Array) -> Reasons:
    needed = f"needs more than {LEAST_EXPECTED:g} expected rows in every bin, one has"
    few = np.flatnonzero(~(least > LEAST_EXPECTED)).tolist()
    return {at: NotMeasured(f"{needed} {least[at]:.3g}") for at in few}
