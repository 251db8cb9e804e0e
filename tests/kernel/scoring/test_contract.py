"""What every detector must do, whatever it computes: the table of detectors is the list of cases."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.examples import SCHEMA, mixed_rows, numeric_schema
from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, Matrix
from tidegauge.scoring import DETECTORS
from tidegauge.scoring.detector import Detector, score_rows

Array = NDArray[np.float64]


def correlated(rows: int, features: int, *, seed: int = 1) -> Matrix:
    rng = np.random.default_rng(seed)
    mixing = np.eye(features) + 0.5 * rng.normal(size=(features, features))
    return rng.normal(size=(rows, features)) @ mixing


def fitted(name: str, matrix: Matrix, schema: FeatureSchema | None = None) -> Detector:
    return DETECTORS[name].fit(matrix, schema or numeric_schema(matrix.shape[1]))


@pytest.fixture(params=DETECTORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


MIXED = {kind: fitted(kind, mixed_rows(500), SCHEMA) for kind in DETECTORS}


ADDITIVE = ("tail", "mahalanobis")
"""Detectors whose scores are the sums of the contributions."""


@pytest.mark.parametrize("features", [1, 2, 3, 5, 8, 9, 17, 33, 64])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_a_rows_score_does_not_depend_on_its_neighbours(name: str, features: int, order: str) -> None:
    detector = fitted(name, correlated(300, features))
    rows = correlated(65, features, seed=2)
    rows[::7, 0] = np.nan
    laid_out = {"C": rows, "F": np.asfortranarray(rows), "strided": np.repeat(rows, 2, axis=0)[::2]}[order]
    scores, contributions = score_rows(detector, laid_out)
    for size in (1, 2, 3, 16):
        for start in range(0, len(rows) - size, size):
            some = score_rows(detector, laid_out[start : start + size])
            np.testing.assert_array_equal(some[0], scores[start : start + size])
            np.testing.assert_array_equal(some[1], contributions[start : start + size])


def test_a_rows_score_does_not_depend_on_the_order_of_rows(name: str) -> None:
    rows = mixed_rows(200, seed=3)
    shuffled = np.random.default_rng(4).permutation(len(rows))
    np.testing.assert_array_equal(
        score_rows(MIXED[name], rows)[0][shuffled], score_rows(MIXED[name], rows[shuffled])[0]
    )


def test_copies_of_an_outlier_do_not_hide_each_other(name: str) -> None:
    rows = np.tile([[400.0, 2.0, 1.0]], (500, 1))
    assert set(score_rows(MIXED[name], rows)[0].tolist()) == {score_rows(MIXED[name], rows[:1])[0][0]}


def test_a_wild_row_leaves_its_neighbours_scores_alone(name: str) -> None:
    detector = fitted(name, correlated(300, 3))
    rows = correlated(10, 3)
    wild = np.vstack([rows, [1e308, -1e308, 1e308]])
    np.testing.assert_array_equal(score_rows(detector, wild)[0][:10], score_rows(detector, rows)[0])


VALUES = st.floats(allow_infinity=False, width=64)


@given(height=VALUES, colour=st.sampled_from([-1.0, 0.0, 1.0, 2.0, np.nan]), door=st.sampled_from([0.0, 1.0, np.nan]))
def test_scores_are_finite_and_contributions_are_not_negative(height: float, colour: float, door: float) -> None:
    for name, detector in MIXED.items():
        scores, contributions = score_rows(detector, np.array([[height, colour, door]]))
        assert contributions.shape == (1, 3)
        assert (contributions >= 0).all()
        assert np.isfinite(scores).all()
        if name in ADDITIVE:
            np.testing.assert_allclose(scores, contributions.sum(axis=1), rtol=1e-12)


def test_no_rows_have_no_scores(name: str) -> None:
    scores, contributions = score_rows(MIXED[name], np.empty((0, 3)))
    assert (scores.shape, contributions.shape) == ((0,), (0, 3))


def test_scoring_leaves_the_rows_as_they_were(name: str) -> None:
    rows = mixed_rows(20)
    rows[0, 0] = np.nan
    before = rows.copy()
    score_rows(MIXED[name], rows)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("factor", [1e-6, 25.4, 1e6])
def test_the_unit_of_a_feature_does_not_matter(name: str, factor: float, offset: float) -> None:
    reference, fresh = correlated(400, 4), correlated(50, 4, seed=2)
    scale, shift = np.array([1.0, factor, 1.0, 1.0]), np.array([0.0, offset * factor, 0.0, 0.0])
    expected = score_rows(fitted(name, reference), fresh)[0]
    np.testing.assert_allclose(
        score_rows(fitted(name, reference * scale + shift), fresh * scale + shift)[0], expected, rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize("name", ADDITIVE)  # a forest draws features by their position
def test_the_order_of_features_does_not_matter(name: str) -> None:
    reference, fresh = correlated(400, 4), correlated(50, 4, seed=2)
    order = [2, 0, 3, 1]
    scores, contributions = score_rows(fitted(name, reference), fresh)
    turned_scores, turned = score_rows(fitted(name, reference[:, order]), fresh[:, order])
    np.testing.assert_allclose(turned_scores, scores, rtol=1e-9)
    np.testing.assert_allclose(turned, contributions[:, order], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("constant", [0.0, 5.0, -1e9, 0.1])
def test_a_constant_column_contributes_nothing_while_it_stays_constant(name: str, constant: float) -> None:
    reference, fresh = correlated(400, 3), correlated(50, 3, seed=2)
    reference[:, 1] = fresh[:, 1] = constant
    scores, contributions = score_rows(fitted(name, reference), fresh)
    assert not contributions[:, 1].any()
    others = [0, 2]
    np.testing.assert_allclose(score_rows(fitted(name, reference[:, others]), fresh[:, others])[0], scores, rtol=1e-9)


def test_a_far_value_scores_more_than_a_usual_one(name: str) -> None:
    detector = fitted(name, correlated(400, 3))
    centre, far = np.zeros((1, 3)), np.array([[0.0, 0.0, 40.0]])
    assert score_rows(detector, far)[0] > 1.5 * score_rows(detector, centre)[0]


def test_a_row_without_any_value_has_a_score(name: str) -> None:
    scores, contributions = score_rows(MIXED[name], np.full((1, 3), np.nan))
    assert np.isfinite(scores).all()
    assert (contributions >= 0).all()


def test_a_detector_survives_its_document(name: str) -> None:
    document = json.loads(json.dumps(MIXED[name].to_document()))
    again = DETECTORS[name].from_document(document, SCHEMA)
    rows = mixed_rows(100, seed=5)
    for before, after in zip(score_rows(MIXED[name], rows), score_rows(again, rows), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("document", [None, [], {}, {"features": 5, "mean": 5, "scale": [1], "covariance": [[1]]}])
def test_a_document_of_something_else_is_refused(name: str, document: object) -> None:
    with pytest.raises(InvalidBaseline, match=f"detectors.{name}"):
        DETECTORS[name].from_document(document, SCHEMA)


def test_a_column_without_any_value_can_be_fitted(name: str) -> None:
    reference = correlated(300, 3)
    reference[:, 1] = np.nan
    scores, _ = score_rows(fitted(name, reference), correlated(5, 3, seed=2))
    assert np.isfinite(scores).all()
