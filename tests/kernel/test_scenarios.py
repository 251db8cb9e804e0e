"""Injected changes do what they say to the feature they name, and nothing to any other."""

from __future__ import annotations

import numpy as np
import pytest

from tidegauge.scenarios import Scenario, Shift, Spread, replay_order, shift_and_spread

NAMES = ("a", "b", "c")
REFERENCE = np.random.default_rng(1).normal((1.0, 10.0, -5.0), (1.0, 4.0, 0.5), size=(2000, 3))


def test_a_shift_moves_the_mean_by_so_many_reference_deviations() -> None:
    scenario = shift_and_spread(REFERENCE, NAMES, shifted={"b": 0.5}, spread={})

    moved = scenario.apply(REFERENCE, NAMES)

    expected = REFERENCE[:, 1].mean() + 0.5 * REFERENCE[:, 1].std()
    assert moved[:, 1].mean() == pytest.approx(expected)
    assert moved[:, 1].std() == pytest.approx(REFERENCE[:, 1].std())


def test_a_spread_widens_about_the_reference_mean() -> None:
    scenario = shift_and_spread(REFERENCE, NAMES, shifted={}, spread={"c": 1.5})

    widened = scenario.apply(REFERENCE, NAMES)

    assert widened[:, 2].mean() == pytest.approx(REFERENCE[:, 2].mean())
    assert widened[:, 2].std() == pytest.approx(1.5 * REFERENCE[:, 2].std())


def test_other_features_and_the_given_rows_stay_as_they_were() -> None:
    rows = REFERENCE.copy()
    scenario = shift_and_spread(REFERENCE, NAMES, shifted={"b": 0.5}, spread={"c": 1.5})

    changed = scenario.apply(rows, NAMES)

    assert np.array_equal(changed[:, 0], REFERENCE[:, 0])
    assert np.array_equal(rows, REFERENCE)


def test_missing_values_stay_missing() -> None:
    changed = Scenario((Shift("a", 1.0, 2.0), Spread("b", 2.0, 0.0))).apply(np.array([[np.nan, np.nan, 1.0]]), NAMES)

    assert np.isnan(changed).tolist() == [[True, True, False]]


def test_the_truth_names_every_changed_feature() -> None:
    assert shift_and_spread(REFERENCE, NAMES, shifted={"b": 0.5}, spread={"a": 2.0}).features == ("b", "a")


def test_a_feature_cannot_be_changed_twice() -> None:
    with pytest.raises(ValueError, match="once only, got a, a"):
        Scenario((Shift("a", 1.0, 2.0), Spread("a", 2.0, 0.0)))


@pytest.mark.parametrize(
    ("shifted", "problem"),
    [({"z": 0.5}, "no feature 'z', there are a, b, c"), ({"a": 0.5}, "feature 'a' never varies")],
    ids=["unknown feature", "constant feature"],
)
def test_what_cannot_be_measured_cannot_be_injected(shifted: dict[str, float], problem: str) -> None:
    reference = REFERENCE.copy()
    reference[:, 0] = 3.0

    with pytest.raises(ValueError, match=problem):
        shift_and_spread(reference, NAMES, shifted=shifted, spread={})


def test_rows_without_the_feature_are_refused() -> None:
    with pytest.raises(ValueError, match="no feature 'a', there are b, c"):
        Scenario((Shift("a", 1.0, 2.0),)).apply(REFERENCE[:, 1:], NAMES[1:])


class TestReplayOrder:
    def test_the_same_seed_gives_the_same_order(self) -> None:
        first, second = (replay_order(np.random.default_rng(5), available=50, count=120) for _ in range(2))

        assert np.array_equal(first, second)

    def test_every_row_comes_before_any_comes_again(self) -> None:
        order = replay_order(np.random.default_rng(5), available=50, count=120)

        assert np.bincount(order[:50], minlength=50).tolist() == [1] * 50
        assert np.bincount(order[50:100], minlength=50).tolist() == [1] * 50
        assert len(order) == 120

    def test_nothing_asked_for_is_nothing(self) -> None:
        assert len(replay_order(np.random.default_rng(5), available=50, count=0)) == 0

    def test_no_rows_cannot_be_replayed(self) -> None:
        with pytest.raises(ValueError, match="no rows to replay"):
            replay_order(np.random.default_rng(5), available=0, count=3)
