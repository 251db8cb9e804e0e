"""
Whether alarms mean what they say: normal rows flagged at a stated rate, and labelled outliers found at that rate.

Given n held-out rows the realised rate is Beta(k, n + 1 - k), k = floor(rate (n + 1)), so the flags among fresh normal
rows are beta-binomial. A breach is a count outside its 99.9 % interval; of 20 splits one may happen by chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.detection_data import Generator, shuttle
from benchmarks.detection_peers import schema_of
from tidegauge.baseline import BaselineProfile
from tidegauge.features import Matrix
from tidegauge.scoring.fitted import COMBINED
from tidegauge.scoring.scorer import Scorer

RATES: Final = (0.01, 0.001)
SPLITS: Final = 20
FEATURES: Final = 8
SOURCES: Final = ("shuttle", "synthetic")


@dataclass(frozen=True)
class Cell:
    """One detector, or the combined verdict, at one rate in one split."""

    source: str
    detector: str
    rate: float
    realised: float
    """Share of fresh normal rows that is flagged."""
    breach: bool
    recall: float
    """Share of the labelled outliers that is flagged."""


def split(source: str, seed: int) -> list[Cell]:
    fitting, fresh, outliers = _shuttle(seed) if source == "shuttle" else _synthetic(seed)
    profile = BaselineProfile.fit(fitting, schema_of(fitting))
    scorer = Scorer(profile)
    normal, found = scorer.score(fresh).p_values, scorer.score(outliers).p_values
    cells = []
    for name, p_values in normal.items():
        held_out = profile.scoring.held_out_of(scorer.detectors if name == COMBINED else (name,)).n
        for rate in RATES:
            flagged = int((p_values <= rate).sum())
            breach = not _plausible(flagged, len(fresh), held_out, rate)
            cells.append(Cell(source, name, rate, flagged / len(fresh), breach, float((found[name] <= rate).mean())))
    return cells


def _plausible(flagged: int, rows: int, held_out: int, rate: float) -> bool:
    from scipy.stats import betabinom

    k = math.floor(rate * (held_out + 1))
    low, high = betabinom.interval(0.999, rows, k, held_out + 1 - k)
    return bool(low <= flagged <= high)


def _shuttle(seed: int) -> tuple[Matrix, Matrix, Matrix]:
    rows, outlier = shuttle()
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~outlier))
    return rows[normal[:25_000]], rows[normal[25_000:]], rows[outlier]


def _synthetic(seed: int) -> tuple[Matrix, Matrix, Matrix]:
    """Skewed, heavy-tailed, correlated, one feature of whole numbers; an outlier has one value far off."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(FEATURES, FEATURES)) + 2 * np.eye(FEATURES)
    outliers, feature = _drawn(rng, 2000, mixing), rng.integers(2, FEATURES, size=2000)
    outliers[np.arange(2000), feature] += rng.choice([-1, 1], 2000) * 60
    return _drawn(rng, 25_000, mixing), _drawn(rng, 25_000, mixing), outliers


def _drawn(rng: Generator, rows: int, mixing: Matrix) -> Matrix:
    matrix = rng.standard_t(5, size=(rows, FEATURES)) @ mixing
    matrix[:, 0] = np.exp(0.1 * matrix[:, 0])
    matrix[:, 1] = np.rint(matrix[:, 1])
    return matrix


def summary(cells: Sequence[Cell]) -> dict[str, dict[str, float]]:
    """By source, detector and rate: mean realised rate, splits in breach, mean recall."""
    grouped: dict[str, list[Cell]] = {}
    for cell in cells:
        grouped.setdefault(f"{cell.source}, {cell.detector}, {cell.rate:g}", []).append(cell)
    return {
        label: {
            "realised_rate": float(np.mean([cell.realised for cell in group])),
            "breaches": sum(cell.breach for cell in group),
            "recall": float(np.mean([cell.recall for cell in group])),
        }
        for label, group in grouped.items()
    }
