"""The Mahalanobis distance: its covariance against scikit-learn's, its trimming, and what it alone can see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from tests.support.examples import SCHEMA, mixed_rows, numeric_schema
from tidegauge.features import Matrix
from tidegauge.packing import pack, unpack
from tidegauge.scoring.detector import score_rows
from tidegauge.scoring.mahalanobis import MahalanobisDetector, shrunk_covariance


def correlated(rows: int, features: int, *, seed: int = 1) -> Matrix:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, features)) @ rng.normal(size=(features, features))


def whole(document: dict[str, Any]) -> Matrix:
    """The covariance from its lower triangle."""
    features = len(document["scale"])
    covariance = np.zeros((features, features))
    covariance[np.tril_indices(features)] = unpack(document["covariance"], np.float64)
    return covariance + np.tril(covariance, -1).T


@pytest.mark.parametrize(("rows", "features"), [(500, 1), (500, 5), (200, 20), (50, 80), (2000, 3)])
def test_the_covariance_is_scikit_learns(rows: int, features: int) -> None:
    data = correlated(rows, features)
    centred = data - data.mean(axis=0)
    expected = LedoitWolf(assume_centered=True).fit(centred).covariance_
    np.testing.assert_allclose(shrunk_covariance(centred), expected, rtol=1e-9, atol=1e-12)


def test_data_without_any_structure_shrink_all_the_way() -> None:
    same = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(shrunk_covariance(same), np.eye(2) / 2)


@pytest.mark.parametrize("shape", [(0, 3), (5, 0)])
def test_the_covariance_of_nothing_is_nothing(shape: tuple[int, int]) -> None:
    assert not shrunk_covariance(np.zeros(shape)).any()


def test_the_score_is_the_squared_distance_by_the_fitted_covariance() -> None:
    reference, rows = correlated(1000, 4), correlated(30, 4, seed=2)
    detector = MahalanobisDetector.fit(reference, numeric_schema(4))
    document = detector.to_document()
    z = (rows - np.array(document["mean"])) / np.array(document["scale"])
    expected = np.einsum("ij,jk,ik->i", z, np.linalg.inv(whole(document)), z)
    np.testing.assert_allclose(score_rows(detector, rows)[0], expected, rtol=1e-9)


def test_a_few_wild_rows_do_not_widen_the_ellipsoid() -> None:
    reference, rows = correlated(1000, 3), correlated(100, 3, seed=2)
    dirty = reference.copy()
    dirty[::20] += 50.0
    clean = score_rows(MahalanobisDetector.fit(reference, numeric_schema(3)), rows)[0]
    np.testing.assert_allclose(score_rows(MahalanobisDetector.fit(dirty, numeric_schema(3)), rows)[0], clean, rtol=0.5)


def test_a_group_of_its_own_does_not_widen_the_ellipsoid() -> None:
    rng = np.random.default_rng(5)
    reference = rng.normal(size=(1000, 4))
    reference[:120] = 8 + 0.1 * rng.normal(size=(120, 4))
    detector = MahalanobisDetector.fit(reference, numeric_schema(4))
    assert score_rows(detector, reference[:120])[0].min() > 10 * np.quantile(
        score_rows(detector, reference[120:])[0], 0.9
    )
    every = MahalanobisDetector.fit(reference, numeric_schema(4), trimmed_share=0)
    assert score_rows(every, reference[:120])[0].max() < 20


def test_without_trimming_the_fit_is_that_of_all_rows() -> None:
    reference = correlated(500, 3)
    document = MahalanobisDetector.fit(reference, numeric_schema(3), trimmed_share=0).to_document()
    np.testing.assert_allclose(document["mean"], reference.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(document["scale"], reference.std(axis=0), rtol=1e-9)


def test_a_core_of_equal_rows_leaves_the_fit_to_all() -> None:
    reference = np.zeros((200, 2))
    reference[:40] = correlated(40, 2)
    detector = MahalanobisDetector.fit(reference, numeric_schema(2))
    assert score_rows(detector, np.array([[3.0, 3.0]]))[0] > 0


def test_an_offset_of_many_standard_deviations_changes_nothing() -> None:
    reference, rows = correlated(500, 3), correlated(50, 3, seed=2)
    near = score_rows(MahalanobisDetector.fit(reference, numeric_schema(3)), rows)[0]
    far = score_rows(MahalanobisDetector.fit(reference + 1e9, numeric_schema(3)), rows + 1e9)[0]
    np.testing.assert_allclose(far, near, rtol=1e-4)


def test_the_covariance_is_read_as_a_packed_triangle_or_as_version_1_had_it() -> None:
    schema, rows = numeric_schema(3), correlated(20, 3, seed=2)
    detector = MahalanobisDetector.fit(correlated(500, 3), schema)
    document = detector.to_document()
    full = whole(document)
    for form in (document["covariance"], pack(full[np.tril_indices(3)]), full.tolist()):
        again = MahalanobisDetector.from_document({**document, "covariance": form}, schema)
        np.testing.assert_array_equal(score_rows(again, rows)[0], score_rows(detector, rows)[0])


def test_a_broken_correlation_is_seen_where_no_single_value_is_unusual() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(size=2000)
    reference = np.column_stack([first, first + 0.1 * rng.normal(size=2000)])
    detector = MahalanobisDetector.fit(reference, numeric_schema(2))
    usual, broken = score_rows(detector, np.array([[1.5, 1.5], [1.5, -1.5]]))[0]
    assert broken > 50 * usual


def test_a_missing_value_stands_at_its_features_mean() -> None:
    detector = MahalanobisDetector.fit(correlated(500, 3), numeric_schema(3))
    mean = detector.to_document()["mean"]
    assert isinstance(mean, list)
    np.testing.assert_array_equal(
        score_rows(detector, np.array([[np.nan, 2.0, -1.0]]))[0],
        score_rows(detector, np.array([[mean[0], 2.0, -1.0]]))[0],
    )


def test_categories_have_no_part_in_it() -> None:
    detector = MahalanobisDetector.fit(mixed_rows(500), SCHEMA)
    rows = mixed_rows(20)
    recoloured = rows.copy()
    recoloured[:, 1] = -1.0
    scores, contributions = score_rows(detector, rows)
    np.testing.assert_array_equal(score_rows(detector, recoloured)[0], scores)
    assert not contributions[:, 1].any()


def test_perfectly_dependent_features_have_finite_distances() -> None:
    column = np.random.default_rng(4).normal(size=(300, 1))
    detector = MahalanobisDetector.fit(np.hstack([column, column, -2 * column]), numeric_schema(3))
    assert np.isfinite(score_rows(detector, np.array([[1.0, 1.0, -2.0], [1.0, -1.0, 2.0]]))[0]).all()


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e90])
def test_the_largest_numbers_have_finite_and_large_scores(scale: float) -> None:
    detector = MahalanobisDetector.fit(correlated(300, 3) * scale, numeric_schema(3))
    scores, contributions = score_rows(detector, np.array([[1.7e308, -1.7e308, 1e308], [0.0, 1e308, 0.0]]))
    assert np.isfinite(scores).all()
    assert (scores > 1e100).all()
    np.testing.assert_allclose(contributions.sum(axis=1), scores, rtol=1e-12)
