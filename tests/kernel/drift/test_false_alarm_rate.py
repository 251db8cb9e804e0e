"""
Alarms where nothing has drifted, with finite baselines, and found where something has.

A baseline's own sampling error is in every window, so the unit of the simulation is the baseline, not the window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from tidegauge.binning import count_bins, cut_edges
from tidegauge.budget import Budget
from tidegauge.drift import DRIFT_TESTS, run_tests
from tidegauge.drift.results import Measured
from tidegauge.drift.window_bins import AlarmLevel, FeatureBins, WindowBins
from tidegauge.drift_spec import Drift
from tidegauge.features import FeatureSpec
from tidegauge.monitor import Windows

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
NUMBER = FeatureSpec("x")

DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy-tailed": lambda rng, n: rng.standard_cauchy(n),
    "skewed": lambda rng, n: rng.lognormal(size=n),
    "whole-numbers": lambda rng, n: rng.poisson(3.0, n).astype(float),
    "often-missing": lambda rng, n: np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
}


def alarms(
    rng: np.random.Generator, draw: Draw, level: AlarmLevel, *, reference_rows: int, rows: int, windows: int
) -> int:
    """Of `windows` windows against one baseline, over all tests."""
    reference = draw(rng, reference_rows)
    edges = cut_edges(NUMBER, reference)
    counts = count_bins(edges, reference)
    judged = [FeatureBins("x", "numeric", counts, count_bins(edges, draw(rng, rows))) for _ in range(windows)]
    results = run_tests(DRIFT_TESTS, WindowBins.of(judged, min_count=100), dict.fromkeys(DRIFT_TESTS, level))
    return sum(isinstance(result, Measured) and result.drifted for one in results for result in one.values())


@pytest.mark.parametrize("draw", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
@pytest.mark.parametrize(
    ("reference_rows", "rows"), [(500, 5000), (2000, 2000), (20_000, 500)], ids=["small", "even", "large"]
)
def test_alarms_stay_within_the_level_for_nearly_every_baseline(draw: Draw, reference_rows: int, rows: int) -> None:
    """
    At a level of one in a hundred, without a minimum effect to hide behind. A baseline that is off its distribution by
    more than it allows for is paid for once: one in a hundred of them may alarm always.
    """
    level = AlarmLevel(window=0.01, baseline=0.01 / 2, minimum_effect=0.0)
    rng = np.random.default_rng(1)
    windows = 20
    found = [alarms(rng, draw, level, reference_rows=reference_rows, rows=rows, windows=windows) for _ in range(20)]
    limit = binom.ppf(0.99, windows * len(DRIFT_TESTS), 0.01)
    assert sum(count <= limit for count in found) >= 19
    assert np.mean(found) <= windows * len(DRIFT_TESTS) * 0.01


def test_a_plug_in_null_would_alarm_all_the_time() -> None:
    """Shows that the simulation can fail: with a baseline that is taken for the truth, it does."""
    taken_for_truth = AlarmLevel(window=0.01, baseline=0.99, minimum_effect=0.0)
    rng = np.random.default_rng(2)
    found = [
        alarms(rng, DISTRIBUTIONS["normal"], taken_for_truth, reference_rows=500, rows=5000, windows=10)
        for _ in range(5)
    ]
    assert np.mean(found) > 5


LEVELS = {
    test: Budget.over(9, drift=Drift(), windows=Windows(duration_ms=5000, slide_ms=5000)).level(test)
    for test in DRIFT_TESTS
}


def share_found(change: Draw, *, reference_rows: int, rows: int, tests: tuple[str, ...] = tuple(DRIFT_TESTS)) -> float:
    """Of 40 windows, at the level of one alarm in 30 days of 5 s windows over nine features."""
    rng = np.random.default_rng(3)
    reference = rng.normal(size=reference_rows)
    edges = cut_edges(NUMBER, reference)
    counts = count_bins(edges, reference)
    judged = [FeatureBins("x", "numeric", counts, count_bins(edges, change(rng, rows))) for _ in range(40)]
    results = run_tests({test: DRIFT_TESTS[test] for test in tests}, WindowBins.of(judged, min_count=100), LEVELS)
    found = [any(isinstance(result, Measured) and result.drifted for result in one.values()) for one in results]
    return sum(found) / 40


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rng, n: rng.normal(0.5, 1.0, n), id="a-shift-of-half-a-standard-deviation"),
        pytest.param(lambda rng, n: rng.normal(-0.5, 1.0, n), id="a-shift-down"),
        pytest.param(lambda rng, n: rng.normal(0.0, 1.5, n), id="a-spread-of-one-and-a-half"),
        pytest.param(lambda rng, n: np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)), id="a-tenth-missing"),
        pytest.param(lambda rng, n: rng.normal(0.0, 1.0, n) * 1000, id="another-unit"),
    ],
)
def test_a_change_is_found_in_a_thousand_rows(change: Draw) -> None:
    assert share_found(change, reference_rows=20_000, rows=1000) >= 0.95


def test_a_small_shift_is_found_in_five_thousand_rows_with_a_baseline_of_as_many() -> None:
    assert share_found(lambda rng, n: rng.normal(0.25, 1.0, n), reference_rows=5000, rows=5000) >= 0.9


def test_a_change_below_the_minimum_effect_is_left_alone() -> None:
    assert share_found(lambda rng, n: rng.normal(0.03, 1.0, n), reference_rows=200_000, rows=50_000) == 0.0
