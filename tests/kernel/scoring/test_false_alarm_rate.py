"""
The share of normal rows that is flagged is the stated rate, and planted outliers are found.

Given the held-out rows, the realised rate is Beta(k, n + 1 - k) with k = floor(rate (n + 1)), so among m fresh normal
rows the flagged ones are beta-binomial; a plain binomial would reject a perfect method in a quarter of the runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import betabinom

from tests.support.examples import numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.features import Matrix
from tidegauge.scoring.fitted import COMBINED
from tidegauge.scoring.scorer import Scorer

FEATURES = 4
PAIR = ("tail", "mahalanobis")
"""A monitor's default. A third detector has them flag somewhat less of what two see, and takes long to fit."""
MIXING = np.random.default_rng(0).normal(size=(FEATURES, FEATURES)) + 2 * np.eye(FEATURES)


def normal(rng: np.random.Generator, rows: int) -> Matrix:
    return rng.normal(size=(rows, FEATURES)) @ MIXING


def skewed(rng: np.random.Generator, rows: int) -> Matrix:
    return np.exp(0.5 * rng.normal(size=(rows, FEATURES)) @ MIXING)


def heavy_tailed(rng: np.random.Generator, rows: int) -> Matrix:
    return rng.standard_t(3, size=(rows, FEATURES)) @ MIXING


def mixed(rng: np.random.Generator, rows: int) -> Matrix:
    """Numbers, whole numbers and a rarely missing value."""
    matrix = np.column_stack([rng.normal(size=(rows, 2)), rng.poisson(4.0, rows), rng.exponential(size=rows)])
    matrix[rng.random(rows) < 0.01, 1] = np.nan
    return matrix


@pytest.mark.parametrize("draw", [normal, skewed, heavy_tailed, mixed], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize(
    ("rate", "reference_rows", "fresh_rows"),
    [(0.01, 4_000, 20_000), (0.001, 40_000, 40_000)],
    ids=["one-in-a-hundred", "one-in-a-thousand"],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_normal_rows_are_flagged_at_the_stated_rate(
    draw: Callable[[np.random.Generator, int], Matrix], rate: float, reference_rows: int, fresh_rows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    profile = BaselineProfile.fit(draw(rng, reference_rows), numeric_schema(FEATURES))
    scorer = Scorer(profile, false_alarm_rate=rate)
    assert scorer.status == "calibrated"
    scored = scorer.score(draw(rng, fresh_rows))
    for name, p_values in scored.p_values.items():
        n = profile.scoring.held_out_of(scorer.detectors if name == COMBINED else (name,)).n
        k = math.floor(rate * (n + 1))
        low, high = betabinom.interval(0.999, fresh_rows, k, n + 1 - k)
        flagged = int((p_values <= rate).sum())
        # Whole numbers and ties make a detector's smallest p-values come in steps: fewer flags than k, never more.
        assert flagged <= high, name
        assert flagged >= low, name


@pytest.mark.parametrize("draw", [normal, skewed, heavy_tailed, mixed], ids=lambda draw: draw.__name__)
def test_planted_outliers_are_found(draw: Callable[[np.random.Generator, int], Matrix]) -> None:
    """Never flagging anything would pass the test above."""
    rng = np.random.default_rng(3)
    reference = draw(rng, 20_000)
    profile = BaselineProfile.fit(reference, numeric_schema(FEATURES), detectors=PAIR)
    scorer = Scorer(profile, false_alarm_rate=0.001)
    planted = draw(rng, 1000)
    planted[:, 0] += 3 * (np.nanquantile(reference[:, 0], 0.999) - np.nanquantile(reference[:, 0], 0.001))
    assert scorer.score(planted).outlier.mean() >= 0.9


@pytest.mark.parametrize("draw", [normal, skewed, heavy_tailed, mixed], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("held_out", [250, 1000])
def test_a_small_sample_carries_the_rate_by_extrapolation_on_average(
    draw: Callable[[np.random.Generator, int], Matrix], held_out: int
) -> None:
    """One in a thousand, from fewer rows than it takes to see it: single samples vary, their mean must not."""
    rng = np.random.default_rng(4)
    rates = []
    for _ in range(30):
        profile = BaselineProfile.fit(draw(rng, held_out), numeric_schema(FEATURES), detectors=PAIR)
        rates.append(Scorer(profile, false_alarm_rate=0.001).score(draw(rng, 4000)).outlier.mean())
    assert 0.0002 < np.mean(rates) < 0.002
