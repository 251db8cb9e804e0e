"""The false-alarm budget: divided over windows, features and tests, and over nothing else."""

from __future__ import annotations

import pytest

from tidegauge.budget import BASELINE_RISK, alarm_level
from tidegauge.drift import DRIFT_TESTS
from tidegauge.monitor import Drift, FalseAlarmBudget, Windows

FIVE_SECONDS = Windows(duration_ms=5000, slide_ms=5000)
MONTH = 30 * 86_400.0


def test_one_alarm_in_thirty_days_over_nine_features_and_two_tests() -> None:
    level = alarm_level("location", drift=Drift(FalseAlarmBudget(1.0, MONTH)), windows=FIVE_SECONDS, features=9)
    assert level.window == pytest.approx(1 / (518_400 * 9 * 2))
    assert level.baseline == pytest.approx(BASELINE_RISK / 18)
    assert (level.minimum_effect, level.dispersion) == (0.1, 1.0)


def test_what_all_windows_features_and_tests_may_spend_is_the_budget() -> None:
    drift = Drift(FalseAlarmBudget(3.0, 86_400.0))
    spent = sum(
        alarm_level(test, drift=drift, windows=FIVE_SECONDS, features=30).window * 30 * 86_400 / 5
        for test in DRIFT_TESTS
    )
    assert spent == pytest.approx(3.0)


def test_overlapping_windows_each_cost() -> None:
    tumbling, sliding = FIVE_SECONDS, Windows(duration_ms=5000, slide_ms=1000)
    levels = [
        alarm_level("location", drift=Drift(), windows=windows, features=1).window for windows in (tumbling, sliding)
    ]
    assert levels[0] == pytest.approx(5 * levels[1])


def test_a_budget_shorter_than_a_window_counts_as_one_window() -> None:
    drift = Drift(FalseAlarmBudget(0.1, 1.0))
    assert alarm_level("location", drift=drift, windows=FIVE_SECONDS, features=1).window == pytest.approx(0.05)


def test_a_generous_budget_does_not_make_every_window_an_alarm() -> None:
    drift = Drift(FalseAlarmBudget(1e6, 60.0))
    assert alarm_level("location", drift=drift, windows=FIVE_SECONDS, features=1).window == 0.5


@pytest.mark.parametrize("test", DRIFT_TESTS)
def test_every_test_has_a_minimum_effect_by_default(test: str) -> None:
    assert alarm_level(test, drift=Drift(), windows=FIVE_SECONDS, features=1).minimum_effect > 0
