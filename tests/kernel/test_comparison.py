"""Two profiles compared: nothing differs from itself, and what was changed comes first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from tests.support.examples import SCHEMA, mixed_profile, mixed_rows, numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.comparison import compare
from tidegauge.features import FeatureSchema, FeatureSpec


def normal(rows: int = 4000, *, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, 3))


def test_a_profile_is_the_same_as_itself() -> None:
    comparison = compare(mixed_profile(), BaselineProfile.load(mixed_profile().dump()))
    assert comparison.same
    assert (comparison.schema, comparison.scoring) == ((), ())
    assert [one.jensen_shannon for one in comparison.features] == [0.0, 0.0, 0.0]


def test_what_changed_most_comes_first() -> None:
    changed = normal(seed=2)
    changed[:, 1] += 1.0
    changed[::4, 2] = np.nan
    comparison = compare(BaselineProfile.fit(normal()), BaselineProfile.fit(changed))
    assert not comparison.same
    shifted, gapped, alike = comparison.features
    assert (shifted.name, gapped.name, alike.name) == ("f1", "f2", "f0")
    assert shifted.shift == pytest.approx(1.0, abs=0.06)
    assert gapped.missing == (0.0, 0.25)
    assert alike.jensen_shannon < 0.005 < gapped.jensen_shannon < shifted.jensen_shannon
    assert shifted.jensen_shannon == pytest.approx(_of_normals(1.0), rel=0.2)


def _of_normals(shift: float) -> float:
    grid = np.linspace(-9, 9, 2001)
    p, q = np.exp(-(grid**2) / 2), np.exp(-((grid - shift) ** 2) / 2)
    return float(jensenshannon(p, q) ** 2)


def test_distributions_apart_are_as_far_as_can_be() -> None:
    comparison = compare(BaselineProfile.fit(normal()), BaselineProfile.fit(normal() + 100.0))
    assert all(one.jensen_shannon == pytest.approx(math.log(2)) for one in comparison.features)


def test_categories_are_compared_by_name_whatever_their_codes() -> None:
    rows = mixed_rows(1000)
    other = FeatureSchema((SCHEMA.features[0], FeatureSpec("colour", "categorical", ("green", "blue", "pink", "red"))))
    recoded = rows[:, :2].copy()
    recoded[:, 1] = np.array([1.0, 0.0, 3.0])[rows[:, 1].astype(int)]
    comparison = compare(BaselineProfile.fit(rows, SCHEMA), BaselineProfile.fit(recoded, other))
    assert comparison.schema == ("open: only in the first", "colour: categories only in the second: pink")
    assert {one.name: one.jensen_shannon for one in comparison.features} == {"colour": 0.0, "height": 0.0}
    assert {one.name: one.shift for one in comparison.features} == {"colour": None, "height": 0.0}
    back = compare(BaselineProfile.fit(recoded, other), BaselineProfile.fit(rows, SCHEMA))
    assert back.schema == ("open: only in the second", "colour: categories only in the first: pink")


def test_another_kind_and_another_order_are_told() -> None:
    first = FeatureSchema((FeatureSpec("a"), FeatureSpec("b"), FeatureSpec("c", "boolean")))
    second = FeatureSchema((FeatureSpec("b"), FeatureSpec("a"), FeatureSpec("c")))
    rows = normal(400)
    rows[:, 2] = rows[:, 2] > 0
    comparison = compare(BaselineProfile.fit(rows, first), BaselineProfile.fit(rows, second))
    assert comparison.schema == (
        "c: boolean in the first, numeric in the second",
        "the features are in another order",
    )
    assert {one.name for one in comparison.features} == {"a", "b"}


def test_detectors_and_their_calibration_are_compared() -> None:
    one, few = BaselineProfile.fit(normal(), detectors=["tail"]), BaselineProfile.fit(normal(400))
    comparison = compare(one, few, false_alarm_rate=0.01)
    assert "detector mahalanobis: only in the second" in comparison.scoring
    assert (
        "tail at a rate of 0.01: calibrated with 2,000 rows held out in the first, coarse with 400 in the second"
        in (comparison.scoring)
    )
    assert "detector mahalanobis: only in the first" in compare(few, one).scoring


def test_a_feature_without_values_or_without_spread_is_compared_as_well() -> None:
    rows = normal(400)
    rows[:, 1] = 5.0
    varied = normal(400)
    comparison = compare(BaselineProfile.fit(rows, numeric_schema(3)), BaselineProfile.fit(varied, numeric_schema(3)))
    constant = next(one for one in comparison.features if one.name == "f1")
    assert constant.shift is None
    assert constant.jensen_shannon == pytest.approx(math.log(2), abs=0.05)
