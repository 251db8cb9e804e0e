"""
Whether the features have moved together, each perhaps too little to show alone.

Hotelling's T-squared (Hotelling 1931, "The generalization of Student's ratio", Annals of Mathematical Statistics 2) on
the means of normal scores that the location test has of each feature, with the baseline's correlation: scores are
bounded, so heavy tails do no harm. Against the interval null of the drift tests: n D^2 is close to a non-central
chi-squared, whose non-centrality goes up to the baseline's own uncertainty or the minimum effect.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.chi_squared import inverse_survival, log_survivals
from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.joint.evidence import Evidence

LEAST_VARIANCE: Final = 0.1
"""
Of any direction. Between features that determine each other hardly anything varies in the baseline, and the rounding to
bins alone would look like a shift there.
"""


def mean_shifts(windows: Sequence[Evidence]) -> list[DriftResult]:
    """Effect: the Mahalanobis distance of the locations, in standard deviations."""
    found = list(map(_distance, windows))
    measured = [one for one in found if isinstance(one, _Distance)]
    statistics, features, noncentralities = (np.array([one[at] for one in measured]) for at in range(3))
    logs = iter(log_survivals(statistics, features, noncentralities).tolist() if measured else ())
    return [one if isinstance(one, NotMeasured) else one.with_p_value(next(logs)) for one in found]


class _Distance(NamedTuple):
    """statistic: compared with non-central chi-squared of so many features, as degrees of freedom."""

    statistic: float
    features: int
    noncentrality: float
    effect: float

    def with_p_value(self, log_p_value: float) -> Measured:
        return Measured(self.statistic, log_p_value, None, self.effect, "standard deviations")


def _distance(evidence: Evidence) -> _Distance | NotMeasured:
    if evidence.rows < evidence.min_count:
        return NotMeasured(f"needs {evidence.min_count} rows, the window has {evidence.rows:.0f}")
    if evidence.correlation is None:
        return NotMeasured("the baseline was fitted without the detector mahalanobis, which has the correlations")
    index, has_part = evidence.profile.schema.index, np.isfinite(np.diagonal(evidence.correlation)).tolist()
    known = {index[name]: shift for name, shift in evidence.locations.items() if has_part[index[name]]}
    if len(known) < 2:
        return NotMeasured("needs two numeric features that vary")
    places, shifts = list(known), np.array(list(known.values()))
    variances, directions = _directions(evidence.correlation[np.ix_(places, places)].tobytes())
    squared = float(((shifts @ directions) ** 2 / np.maximum(variances, LEAST_VARIANCE)).sum())
    uncertainty = inverse_survival(evidence.baseline, len(known)) / evidence.profile.rows
    scale = evidence.rows / evidence.dispersion
    allowed = max(evidence.minimum_shift**2, uncertainty)
    return _Distance(scale * squared, len(known), scale * allowed, float(np.sqrt(squared)))


@functools.lru_cache(maxsize=256)
def _directions(correlation: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variances and, as columns, the directions that have them. Windows have the same baseline again and again."""
    matrix = np.frombuffer(correlation)
    size = math.isqrt(len(matrix))
    values, vectors = np.linalg.eigh(matrix.reshape(size, size))
    return values, vectors
