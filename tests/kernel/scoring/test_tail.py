"""The tail score against its definition, computed by brute force where the knots are all the distinct values."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from tests.support.examples import numeric_schema
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.packing import unpack
from tidegauge.scoring.detector import score_rows
from tidegauge.scoring.tail import KNOTS, TailDetector

Array = NDArray[np.float64]


def brute_force(reference: Matrix, rows: Matrix) -> Array:
    """Contributions (rows, features) by the formula: both tails with ties and one added to count and total."""
    contributions = np.empty_like(rows)
    for feature in range(rows.shape[1]):
        column = reference[:, feature]
        skew = ((column - column.mean()) ** 3).sum()
        for row, value in enumerate(rows[:, feature]):
            low = -np.log(((column <= value).sum() + 1) / (len(column) + 1))
            high = -np.log(((column >= value).sum() + 1) / (len(column) + 1))
            contributions[row, feature] = max(low if skew < 0 else high, (low + high) / 2)
    return contributions


DATA = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed-to-the-right": lambda rng, n: rng.lognormal(size=n),
    "skewed-to-the-left": lambda rng, n: -rng.lognormal(size=n),
    "whole-numbers": lambda rng, n: rng.poisson(3.0, n).astype(float),
    "heavy-tailed": lambda rng, n: rng.standard_cauchy(n),
    "far-from-zero": lambda rng, n: rng.normal(size=n) + 1e9,
    "zero-or-one": lambda rng, n: (rng.random(n) < 0.1).astype(float),
}


@pytest.mark.parametrize("make", DATA.values(), ids=DATA)
def test_with_all_values_as_knots_the_score_is_the_formula(make: object) -> None:
    rng = np.random.default_rng(1)
    reference = np.column_stack([make(rng, 150), make(rng, 150)])  # type: ignore[operator]
    beyond = np.vstack([reference.min(axis=0) - 1, reference.max(axis=0) + 1])
    between = (reference[:50] + reference[50:100]) / 2
    rows = np.vstack([reference[:80], beyond, between])
    scores, contributions = score_rows(TailDetector.fit(reference, numeric_schema(2)), rows)
    expected = brute_force(reference, rows)
    np.testing.assert_allclose(contributions, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(scores, expected.sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("make", DATA.values(), ids=DATA)
def test_with_fewer_knots_than_values_the_ranking_stays(make: object) -> None:
    rng = np.random.default_rng(2)
    reference = np.column_stack([make(rng, 10_000), make(rng, 10_000)])  # type: ignore[operator]
    rows = np.column_stack([make(rng, 300), make(rng, 300)])  # type: ignore[operator]
    scores = score_rows(TailDetector.fit(reference, numeric_schema(2)), rows)[0]
    assert spearmanr(scores, brute_force(reference, rows).sum(axis=1)).statistic > 0.999


def test_knots_are_few_and_have_both_extremes() -> None:
    reference = np.random.default_rng(3).normal(size=(50_000, 1))
    knots = unpack(TailDetector.fit(reference, numeric_schema(1)).to_document()["knots"], np.float64)
    assert len(knots) <= KNOTS + 2
    assert (knots[0], knots[-1]) == (reference.min(), reference.max())


def test_a_missing_value_counts_by_its_rarity_and_leaves_the_other_contributions_alone() -> None:
    reference = np.random.default_rng(4).normal(size=(1000, 3))
    reference[:100, 1] = np.nan
    detector = TailDetector.fit(reference, numeric_schema(3))
    whole = np.array([[0.3, -1.0, 2.0]])
    for feature, missing in enumerate((0, 100, 0)):
        holed = whole.copy()
        holed[0, feature] = np.nan
        contributions = score_rows(detector, holed)[1][0]
        others = [other for other in range(3) if other != feature]
        np.testing.assert_array_equal(contributions[others], score_rows(detector, whole)[1][0][others])
        assert contributions[feature] == pytest.approx(-np.log((missing + 1) / 1001))


def test_a_value_other_than_a_constants_is_as_surprising_as_can_be() -> None:
    reference = np.random.default_rng(5).normal(size=(500, 2))
    reference[:, 1] = 0.1
    rows = np.array([[0.0, 0.1], [0.0, 0.2], [0.0, 0.0]])
    assert score_rows(TailDetector.fit(reference, numeric_schema(2)), rows)[1][:, 1].tolist() == [
        0.0,
        pytest.approx(np.log(501)),
        pytest.approx(np.log(501)),
    ]


def test_a_category_counts_by_how_rare_it_and_rarer_ones_are() -> None:
    schema = FeatureSchema((FeatureSpec("colour", "categorical", ("blue", "green", "red")),))
    codes = np.repeat([0.0, 1.0, 2.0], [600, 300, 100])[:, None]
    contributions = score_rows(TailDetector.fit(codes, schema), np.array([[0.0], [1.0], [2.0], [-1.0]]))[1][:, 0]
    np.testing.assert_allclose(contributions, -np.log(np.array([1001, 401, 101, 1]) / 1001), rtol=1e-12)


def test_equally_frequent_categories_count_alike() -> None:
    schema = FeatureSchema((FeatureSpec("c", "categorical", ("a", "b")),))
    detector = TailDetector.fit(np.repeat([0.0, 1.0], 50)[:, None], schema)
    assert score_rows(detector, np.array([[0.0], [1.0]]))[0].tolist() == [0.0, 0.0]
