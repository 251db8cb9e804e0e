"""Every distance over bins is scipy's on the same shares, or on the bins' positions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import euclidean
from scipy.stats import chi2, chisquare, entropy, ks_2samp, ncx2, norm, wasserstein_distance

from tests.support.bins import one_feature, result_of
from tidegauge.drift import REPORTED_TESTS, normal_tail
from tidegauge.drift.results import Measured, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel

LEVEL = AlarmLevel(window=None, baseline=1e-4, minimum_effect=0.0)
COUNTS = st.lists(st.integers(0, 300), min_size=8, max_size=8).filter(lambda counts: sum(counts[:-1]) > 0)
POSITIONS = np.array([-3.0, -1.0, -0.5, 0.0, 0.25, 2.0, 9.0])


def effect(test: str, reference: list[int], window: list[int]) -> float:
    bins = one_feature("numeric", np.array(reference), np.array(window), 1, POSITIONS)
    result = result_of(REPORTED_TESTS[test], bins, LEVEL)
    assert isinstance(result, Measured)
    assert result.threshold is None
    assert not result.drifted
    return result.effect


def shares(counts: list[int]) -> NDArray[np.float64]:
    smoothed = np.array(counts) + 0.5
    return np.asarray(smoothed / smoothed.sum())


@given(reference=COUNTS, window=COUNTS)
def test_divergences_are_entropies(reference: list[int], window: list[int]) -> None:
    p, q = shares(reference), shares(window)
    assert effect("kullback_leibler", reference, window) == pytest.approx(float(entropy(q, p)), rel=1e-9, abs=1e-12)
    both = float(entropy(q, p) + entropy(p, q))
    assert effect("psi", reference, window) == pytest.approx(both, rel=1e-9, abs=1e-12)


@given(reference=COUNTS, window=COUNTS)
def test_hellinger_is_the_distance_of_the_roots(reference: list[int], window: list[int]) -> None:
    expected = euclidean(np.sqrt(shares(reference)), np.sqrt(shares(window))) / math.sqrt(2)
    assert effect("hellinger", reference, window) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(reference=COUNTS, window=COUNTS)
def test_wasserstein_is_that_of_the_positions(reference: list[int], window: list[int]) -> None:
    bins = one_feature("numeric", np.array(reference), np.array(window), 1, POSITIONS)
    result = result_of(REPORTED_TESTS["wasserstein"], bins, LEVEL)
    if np.count_nonzero(reference[:-1]) == 1:
        assert isinstance(result, NotMeasured)
        return
    assert isinstance(result, Measured)
    expected = wasserstein_distance(POSITIONS, POSITIONS, window[:-1], reference[:-1])
    assert result.effect == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(reference=COUNTS, window=COUNTS)
def test_kolmogorov_smirnov_is_that_of_the_binned_values(reference: list[int], window: list[int]) -> None:
    places = np.arange(7)
    expected = ks_2samp(np.repeat(places, reference[:-1]), np.repeat(places, window[:-1]), method="asymp").statistic
    assert effect("kolmogorov_smirnov", reference, window) == pytest.approx(expected, abs=1e-12)


@given(
    reference=st.lists(st.integers(200, 900), min_size=8, max_size=8),
    window=st.lists(st.integers(200, 900), min_size=8, max_size=8),
)
def test_pearsons_is_scipys_for_the_references_shares(reference: list[int], window: list[int]) -> None:
    rows = sum(window)
    expected = np.array(reference) * (rows / sum(reference))
    assert effect("chi_squared", reference, window) * rows == pytest.approx(
        float(chisquare(window, expected).statistic)
    )


def test_pearsons_leaves_out_what_neither_side_has() -> None:
    result = result_of(
        REPORTED_TESTS["chi_squared"],
        one_feature("numeric", np.array([0, 500, 500, 0]), np.array([0, 300, 200, 0]), 100),
        LEVEL,
    )
    assert isinstance(result, Measured)
    allowed = 500 * float(chi2.isf(1e-4, 3)) / 1000
    assert result.p_value == pytest.approx(float(ncx2.sf(20.0, 1, allowed)))


@pytest.mark.parametrize("window", [[0, 15, 15, 0], [1, 300, 200, 0]], ids=["few-rows", "a-row-in-an-empty-bin"])
def test_pearsons_cannot_say_with_small_expected_counts(window: list[int]) -> None:
    bins = one_feature("numeric", np.array([0, 800, 200, 0]), np.array(window), 10)
    result = result_of(REPORTED_TESTS["chi_squared"], bins, LEVEL)
    assert isinstance(result, NotMeasured)
    assert result.why.startswith("needs more than 10 expected rows in every bin, one has ")


@pytest.mark.parametrize("test", ["wasserstein", "kolmogorov_smirnov"])
def test_categories_have_no_order(test: str) -> None:
    result = result_of(REPORTED_TESTS[test], one_feature("categorical", np.ones(5), np.ones(5), 1), LEVEL)
    assert isinstance(result, NotMeasured)


@pytest.mark.parametrize("z", [-3.0, 0.0, 1.0, 8.0, 29.9, 30.0, 35.0, 500.0])
def test_the_normal_tails_logarithm_is_scipys(z: float) -> None:
    assert normal_tail.log_survival(z) == pytest.approx(float(norm.logsf(z)), rel=1e-9)


def test_the_normal_tail_is_inverted_as_far_as_a_half() -> None:
    assert normal_tail.inverse_survival(1e-9) == pytest.approx(float(norm.isf(1e-9)))
    assert normal_tail.inverse_survival(0.7) == 0.0


@pytest.mark.parametrize("test", REPORTED_TESTS)
def test_few_rows_cannot_be_judged(test: str) -> None:
    bins = one_feature("numeric", np.full(8, 50), np.array([9, 9, 9, 9, 9, 9, 9, 9]), 100, POSITIONS)
    result = result_of(REPORTED_TESTS[test], bins, LEVEL)
    assert isinstance(result, NotMeasured)
    assert result.why.startswith("needs 100 ")


@pytest.mark.parametrize("test", ["wasserstein", "kolmogorov_smirnov"])
def test_a_baseline_of_missing_values_has_no_order(test: str) -> None:
    bins = one_feature("numeric", np.array([0, 0, 0, 0, 0, 0, 0, 99]), np.full(8, 50), 100, POSITIONS)
    assert result_of(REPORTED_TESTS[test], bins, LEVEL) == NotMeasured("the baseline has no values")


def test_a_constant_has_no_spread_to_measure_a_move_by() -> None:
    bins = one_feature("numeric", np.array([0, 0, 0, 99, 0, 0, 0, 0]), np.full(8, 50), 100, POSITIONS)
    result = result_of(REPORTED_TESTS["wasserstein"], bins, LEVEL)
    assert result == NotMeasured("the baseline's values have no spread that could be told")
