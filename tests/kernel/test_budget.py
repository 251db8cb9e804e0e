"""The false-alarm budget: divided over windows, features and tests, and over nothing else."""

from __future__ import annotations

import math

import pytest

from tidegauge.budget import BASELINE_RISK, Budget, minimum_effects
from tidegauge.drift import DRIFT_TESTS, REPORTED_TESTS
from tidegauge.drift_spec import DECISIVE_TESTS, DRIFT_TEST_NAMES, Drift, FalseAlarmBudget, OwnTests
from tidegauge.monitor import Windows

FIVE_SECONDS = Windows(duration_ms=5000, slide_ms=5000)
MONTH = 30 * 86_400.0


def budget(drift: Drift | None = None, *, windows: Windows = FIVE_SECONDS, features: int = 1) -> Budget:
    return Budget.over(features, drift=drift or Drift(), windows=windows)


def test_one_alarm_in_thirty_days_over_nine_features_and_two_tests() -> None:
    level = budget(Drift(FalseAlarmBudget(1.0, MONTH)), features=9).level("location")
    assert level.window == pytest.approx(1 / (518_400 * 9 * 2))
    assert level.baseline == pytest.approx(BASELINE_RISK / 18)
    assert (level.minimum_effect, level.dispersion, level.fixed) == (0.1, 1.0, None)


def test_what_all_windows_features_and_tests_may_spend_is_the_budget() -> None:
    spread = budget(Drift(FalseAlarmBudget(3.0, 86_400.0)), features=30)
    levels = [spread.level(test).window or 0.0 for test in DRIFT_TESTS]
    assert sum(levels) * 30 * 86_400 / 5 == pytest.approx(3.0)
    assert spread.per_window * 86_400 / 5 == pytest.approx(3.0)


def test_a_users_own_test_that_decides_takes_its_share_and_one_that_reports_takes_none() -> None:
    spread = budget(Drift(own=OwnTests(decide=("plant:wear",), report=("plant:noise",))), features=4)
    assert spread.per_decision == pytest.approx(spread.per_window / (4 * 3))
    assert (spread.level("plant:wear").window, spread.level("plant:noise").window) == (spread.per_decision, None)
    assert spread.level("plant:wear").minimum_effect == 0.0


def test_overlapping_windows_each_cost() -> None:
    sliding = Windows(duration_ms=5000, slide_ms=1000)
    assert budget().per_decision == pytest.approx(5 * budget(windows=sliding).per_decision)


def test_a_budget_shorter_than_a_window_counts_as_one_window() -> None:
    assert budget(Drift(FalseAlarmBudget(0.1, 1.0))).per_decision == pytest.approx(0.05)


def test_a_generous_budget_does_not_make_every_window_an_alarm() -> None:
    assert budget(Drift(FalseAlarmBudget(1e6, 60.0))).per_decision == 0.5


def test_nothing_may_be_spent_while_learning() -> None:
    assert budget().level("location", learning=True).window == 0.0


@pytest.mark.parametrize("test", REPORTED_TESTS)
def test_reported_tests_never_decide_by_their_p_value(test: str) -> None:
    assert budget().level(test).window is None
    assert budget().level(test, learning=True).window is None


@pytest.mark.parametrize("test", DRIFT_TEST_NAMES)
def test_every_test_has_a_minimum_effect_by_default_and_takes_a_fixed_threshold(test: str) -> None:
    level = budget(Drift(thresholds={test: 0.25})).level(test)
    assert level.minimum_effect > 0
    assert level.fixed == 0.25


def test_the_minimum_effects_of_reported_tests_are_the_same_change() -> None:
    """Of a normal distribution: JS is about shift^2 / 8, PSI shift^2, KL shift^2 / 2, Hellinger shift / sqrt(8)."""
    shift = 0.01
    drift = Drift(minimum_effect={"jensen_shannon": shift**2 / 8, "location": shift})
    assert minimum_effects(drift)["psi"] == pytest.approx(shift**2)
    assert minimum_effects(drift)["kullback_leibler"] == pytest.approx(shift**2 / 2)
    assert minimum_effects(drift)["chi_squared"] == pytest.approx(shift**2)
    assert minimum_effects(drift)["hellinger"] == pytest.approx(shift / math.sqrt(8))
    assert minimum_effects(drift)["kolmogorov_smirnov"] == pytest.approx(shift / math.sqrt(2 * math.pi), rel=1e-3)


def test_the_monitor_names_the_tests_there_are() -> None:
    assert tuple(DRIFT_TESTS) == DECISIVE_TESTS
    assert (*DRIFT_TESTS, *REPORTED_TESTS) == DRIFT_TEST_NAMES
