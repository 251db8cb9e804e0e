"""Scores of a feature's bins: what location and spread are measured by, however heavy the tails."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.window_bins import Counts

_NORMAL: Final = NormalDist()

_NO_SPREAD: Final = 1e-12

Scores: TypeAlias = NDArray[np.float64]
ScoresOf: TypeAlias = Callable[[Counts], Scores | None]


def location_scores(reference: Counts) -> Scores | None:
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


def spread_scores(reference: Counts) -> Scores | None:
    """The squares of the location scores, less what location explains; None where nothing is left (two bins)."""
    location = location_scores(reference)
    if location is None:
        return None
    counts = np.asarray(reference, dtype=np.float64)
    squares = location**2
    return _standardised(squares - (counts @ (squares * location)) / counts.sum() * location, counts)


def side_by_side(
    scores_of: ScoresOf, references: NDArray[Any], sizes: NDArray[np.int64]
) -> tuple[Scores, NDArray[np.bool_]]:
    """
    The scores of several features' bins, 0 for missing values and for all of a feature without scores, and which
    features have some. references: the features' bins one after the other, missing last, `sizes` of each.
    """
    return _side_by_side(scores_of, np.asarray(references, dtype=np.float64).tobytes(), tuple(sizes.tolist()))


@functools.lru_cache(maxsize=32)
def _side_by_side(scores_of: ScoresOf, references: bytes, sizes: tuple[int, ...]) -> tuple[Scores, NDArray[Any]]:
    """Windows are judged against the same references again and again."""
    parts = np.split(np.frombuffer(references), np.cumsum(sizes)[:-1])
    listed = [scores_of(part[:-1]) for part in parts]
    flat = [np.zeros(len(part)) if s is None else np.append(s, 0.0) for part, s in zip(parts, listed, strict=True)]
    return np.concatenate(flat), np.array([s is not None for s in listed])


def _standardised(scores: Scores, counts: Scores) -> Scores | None:
    weights = counts / counts.sum()
    centred = scores - weights @ scores
    variance = float(weights @ centred**2)
    return np.asarray(centred / math.sqrt(variance)) if variance > _NO_SPREAD else None
