"""Correlations of reference rows, beside numpy: in any blocks, with gaps, offsets and constants, and as text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.correlations import (
    PAIRWISE_FEATURES,
    STRONGEST,
    CorrelationTally,
    correlations_from_text,
    correlations_to_text,
    fisher_z,
)
from tidegauge.features import Matrix

RNG = np.random.default_rng(4)


def tallied(matrix: Matrix, *, blocks: int = 1) -> Matrix:
    """matrix: (rows, features)."""
    tally = CorrelationTally(np.nan_to_num(np.nanmean(matrix, axis=0)))
    for block in np.array_split(matrix, blocks):
        tally.add(block.T)
    return tally.correlation()


def mixed(rows: int, features: int) -> Matrix:
    return RNG.normal(size=(rows, features)) @ RNG.normal(size=(features, features))


@given(st.integers(1, 9), st.sampled_from([(0.0, 1e-9), (0.0, 1e40), (1e9, 1.0), (-1e9, 1e6)]))
def test_blocks_offsets_and_scales_change_nothing(blocks: int, unit: tuple[float, float]) -> None:
    matrix = mixed(200, 4)
    offset, scale = unit
    assert tallied(matrix * scale + offset, blocks=blocks) == pytest.approx(np.corrcoef(matrix.T), abs=1e-6)


@pytest.mark.parametrize("features", [3, PAIRWISE_FEATURES + 1])
def test_pairs_have_rows_of_their_own_up_to_some_features(features: int) -> None:
    matrix = mixed(400, features)
    matrix[RNG.random(matrix.shape) < 0.2 / features] = np.nan
    whole = ~np.isnan(matrix).any(axis=1)
    found = tallied(matrix, blocks=3)
    for left, right in ((0, 1), (1, 2), (0, features - 1)):
        both = ~np.isnan(matrix[:, [left, right]]).any(axis=1) if features <= PAIRWISE_FEATURES else whole
        expected = np.corrcoef(matrix[both, left], matrix[both, right])[0, 1]
        assert found[left, right] == pytest.approx(expected, abs=1e-9)


def test_what_does_not_vary_has_no_correlation() -> None:
    matrix = np.column_stack([RNG.normal(size=50), np.full(50, 0.1), np.arange(50.0)])
    found = tallied(matrix)
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[0, 2])
    assert np.isnan(tallied(matrix[:1])).all()


def test_outliers_and_all_rows_are_in_it() -> None:
    matrix = mixed(1000, 3)
    outlier = np.arange(1000) < 50
    matrix[outlier] *= 20
    profile = BaselineProfile.fit(matrix, numeric_schema(3), outlier=outlier, detectors=("tail",))
    assert profile.correlations is not None
    assert fisher_z(profile.correlations) == pytest.approx(fisher_z(np.corrcoef(matrix.T)), abs=1e-9)


def test_text_keeps_z_to_half_a_thousandth() -> None:
    correlation = np.corrcoef(mixed(300, 5).T)
    correlation[0, 1] = correlation[1, 0] = 1.0
    correlation[2, 3] = correlation[3, 2] = np.nan
    read = correlations_from_text(correlations_to_text(correlation), 5)
    assert fisher_z(read) == pytest.approx(fisher_z(correlation), abs=0.00051, nan_ok=True)
    assert np.array_equal(read, read.T, equal_nan=True)
    assert np.diagonal(read).tolist() == [1.0] * 5
    assert read[0, 1] <= STRONGEST


def test_a_profile_keeps_them_and_200_features_stay_below_a_mebibyte() -> None:
    matrix = np.round(mixed(3000, 200), 6)
    profile = BaselineProfile.fit(matrix, numeric_schema(200), detectors=("tail", "mahalanobis"))
    data = profile.dump()
    assert len(data) < 1 << 20
    read = BaselineProfile.load(data)
    assert profile.correlations is not None
    assert read.correlations is not None
    assert read.dump() == data
    assert fisher_z(read.correlations) == pytest.approx(fisher_z(profile.correlations), abs=0.00051)


def test_text_of_another_number_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match="3 correlations for 4 features"):
        correlations_from_text(correlations_to_text(np.eye(3)), 4)
