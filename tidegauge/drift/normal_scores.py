"""Scores of a feature's bins: what location and spread are measured by, however heavy the tails."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from tidegauge.drift.results import Array, Counts

_NORMAL: Final = NormalDist()

_NO_SPREAD: Final = 1e-12


def location_scores(reference: Counts) -> Array | None:
    """
    The normal quantile of the middle of each bin's reference mass, scaled to mean 0 and variance 1 over the reference;
    None where that is all in one bin. reference: counts of the bins in order, without the missing ones'.
    """
    counts = np.asarray(reference, dtype=np.float64)
    if not counts.sum():
        return None
    smoothed = counts + 0.5
    shares = smoothed / smoothed.sum()
    middles = np.cumsum(shares) - shares / 2
    return _standardised(np.array([_NORMAL.inv_cdf(middle) for middle in middles.tolist()]), counts)


def spread_scores(reference: Counts) -> Array | None:
    """The squares of the location scores, less what location explains; None where nothing is left (two bins)."""
    location = location_scores(reference)
    if location is None:
        return None
    counts = np.asarray(reference, dtype=np.float64)
    squares = location**2
    return _standardised(squares - (counts @ (squares * location)) / counts.sum() * location, counts)


def _standardised(scores: Array, counts: Array) -> Array | None:
    weights = counts / counts.sum()
    centred = scores - weights @ scores
    variance = float(weights @ centred**2)
    return np.asarray(centred / math.sqrt(variance)) if variance > _NO_SPREAD else None
