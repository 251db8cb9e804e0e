"""
Whether a feature has moved: the mean of normal scores, one score per bin, against the baseline's.

A van der Waerden test (Lehmann 1975, "Nonparametrics", section 2.7) on binned data: a bin's score is the normal
quantile of the middle of its reference mass, so scores are bounded and heavy tails do no harm. The null is an interval,
as wide as the baseline's own sampling error with probability 1 - level.baseline, or as the minimum effect.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, WindowBins

_NORMAL: Final = NormalDist()


def location(bins: WindowBins, level: AlarmLevel) -> DriftResult:
    """
    Effect in standard deviations of the reference's normal scores, signed. NotMeasured for categories, which have no
    order, below min_count values present, and where the reference is all in one bin.
    """
    if bins.kind == "categorical":
        return NotMeasured("categories have no location")
    window, reference = bins.window[:-1], bins.reference[:-1]
    rows, reference_rows = int(window.sum()), int(reference.sum())
    if rows < bins.min_count:
        return NotMeasured(f"needs {bins.min_count} values, the window has {rows}")
    scores = _normal_scores(reference)
    if scores is None:
        return NotMeasured("the baseline's values are all in one bin")
    effect = float(scores @ window) / rows
    allowed = max(level.minimum_effect, -_NORMAL.inv_cdf(level.baseline / 2) / math.sqrt(reference_rows))
    statistic = effect * math.sqrt(rows / level.dispersion)
    excess = max(abs(effect) - allowed, 0.0) * math.sqrt(rows / level.dispersion)
    p_value = math.erfc(excess / math.sqrt(2))
    return Measured(statistic, p_value, level.window, effect, "standard deviations", p_value <= level.window)


def _normal_scores(reference: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """One per bin, mean 0 and variance 1 over the reference; None where that has no spread."""
    smoothed = reference + 0.5
    shares = smoothed / smoothed.sum()
    middles = np.cumsum(shares) - shares / 2
    scores = np.array([_NORMAL.inv_cdf(middle) for middle in middles.tolist()])
    weights = reference / max(int(reference.sum()), 1)
    centred = scores - weights @ scores
    variance = float(weights @ centred**2)
    return np.asarray(centred / math.sqrt(variance)) if variance > 1e-12 else None
