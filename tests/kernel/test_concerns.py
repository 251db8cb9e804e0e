"""What makes a baseline weak is said in a sentence; a good one is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.examples import numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.concerns import calibration_status, concerns, rows_needed
from tidegauge.features import FeatureSchema, FeatureSpec


def normal(rows: int, features: int = 2) -> Any:
    return np.random.default_rng(1).normal(size=(rows, features))


def test_enough_rows_with_marked_outliers_are_no_concern() -> None:
    profile = BaselineProfile.fit(normal(3000), outlier=np.arange(3000) % 100 == 0)
    assert concerns(profile, false_alarm_rate=0.01) == ()


@pytest.mark.parametrize(
    ("rate", "status", "message"),
    [
        (0.1, "calibrated", None),
        (0.01, "coarse", "coarse with 500 rows held out: it may be off by a factor of two; from 1,000 reference rows"),
        (0.001, "extrapolated", "extrapolated by a fitted tail with 500 rows held out; from 20,000 reference rows"),
        (0.0001, "refused", "refused with 500 rows held out: at least 1,000 reference rows are needed"),
    ],
)
def test_the_rate_is_said_to_be_as_good_as_the_rows_make_it(rate: float, status: str, message: str | None) -> None:
    profile = BaselineProfile.fit(normal(500), outlier=None)
    assert calibration_status(profile, rate) == status
    said = [concern for concern in concerns(profile, false_alarm_rate=rate) if "false-alarm rate of" in concern]
    assert len(said) == (message is not None)
    assert message is None or message in said[0]


def test_rows_needed_count_that_only_half_of_many_are_held_out() -> None:
    assert rows_needed(0.01, "calibrated") == 1000
    assert rows_needed(0.001, "calibrated") == 20_000
    assert rows_needed(0.001, "refused") == 0


def test_columns_of_one_value_are_named_and_many_are_counted() -> None:
    rows = np.hstack([normal(300, 1), np.ones((300, 7))])
    said = concerns(BaselineProfile.fit(rows))
    assert any(concern.startswith("f1, f2, f3, f4, f5 and 2 more have one value only") for concern in said)
    schema = FeatureSchema((FeatureSpec("a"), FeatureSpec("c", "categorical", ("x",))))
    said = concerns(BaselineProfile.fit(np.hstack([normal(300, 1), np.zeros((300, 1))]), schema))
    assert any(concern.startswith("c has one value only") for concern in said)


def test_gaps_and_missing_marks_are_told() -> None:
    rows = normal(300)
    rows[:200, 1] = np.nan
    said = concerns(BaselineProfile.fit(rows, numeric_schema(2)))
    assert any("mostly missing: f1 (67%)" in concern for concern in said)
    assert any("no rows are marked as outliers" in concern for concern in said)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="false-alarm rate"):
        concerns(BaselineProfile.fit(normal(300)), false_alarm_rate=rate)
