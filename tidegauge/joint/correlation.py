"""
Whether relations between features have changed: the largest change of a correlation among all pairs.

By Fisher's z (Fisher 1921, "On the probable error of a coefficient of correlation", Metron 1) with Bonferroni's bound
over the pairs; the interval null leaves room for the baseline's own uncertainty or the smallest change that matters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from tidegauge.correlations import fisher_z
from tidegauge.drift import normal_tail
from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.joint.evidence import Evidence

SMALLEST_CHANGE: Final = 0.2
"""Of a correlation near 0; as Fisher's z, so of strong ones less."""


def correlation_changes(windows: Sequence[Evidence]) -> list[DriftResult]:
    """Effect: the change of the correlation that has changed most, signed."""
    return list(map(_change, windows))


def _change(evidence: Evidence) -> DriftResult:
    cross = evidence.summary.cross
    if cross is None:
        return NotMeasured("statistics.covariance is off, or was for a part of the window")
    before, now = evidence.profile.correlations, cross.correlation
    if before is None:
        return NotMeasured("the baseline is of an earlier version, which had no correlations: fit it anew")
    usable = np.triu(np.isfinite(before) & np.isfinite(now) & (cross.count >= evidence.min_count), 1)
    if not usable.any():
        return NotMeasured(f"needs two features that vary, with {evidence.min_count} rows that have both")
    was, became = before[usable], now[usable]
    allowed = np.maximum(math.atanh(SMALLEST_CHANGE), _baseline_error(evidence, len(was)))
    beyond = np.maximum(np.abs(fisher_z(became) - fisher_z(was)) - allowed, 0.0)
    scores = beyond * np.sqrt((cross.count[usable] - 3) / evidence.dispersion)
    largest = int(np.argmax(scores)) if scores.any() else int(np.argmax(np.abs(became - was)))
    log_p = normal_tail.log_survival(float(scores[largest])) + math.log(2 * len(was))
    return Measured(
        statistic=float(scores[largest]),
        log_p_value=min(log_p, 0.0),
        threshold=None,
        effect=float(became[largest] - was[largest]),
        unit="correlation",
    )


def _baseline_error(evidence: Evidence, pairs: int) -> float:
    return normal_tail.inverse_survival(evidence.baseline / (2 * pairs)) / math.sqrt(max(evidence.profile.rows - 3, 1))
