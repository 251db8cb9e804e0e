"""Window statistics outside the baseline's range: found as often as they say they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tests.support.examples import make_record, mixed_profile, mixed_rows, numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.descriptive import OutlierRate, Outside, beta_binomial_tail, outlier_rate, outside_range
from tidegauge.drift.results import NotMeasured
from tidegauge.features import Matrix
from tidegauge.summaries.window_summary import summarise, summarise_matrix

REFERENCE = np.random.default_rng(0).normal(size=(1000, 1))
PROFILE = BaselineProfile.fit(REFERENCE, numeric_schema(1))


def findings(matrix: Matrix, profile: BaselineProfile = PROFILE) -> dict[str, Outside]:
    (found, *_) = outside_range(profile, summarise_matrix(matrix, profile))
    return {name: result for name, result in found.items() if isinstance(result, Outside)}


def test_a_value_beyond_the_baselines_is_found_and_counted() -> None:
    low, high = REFERENCE.min(), REFERENCE.max()
    found = findings(np.array([[0.0], [high + 1], [high + 2], [low], [high]]))
    assert found["max"].outside
    assert (found["max"].value, found["max"].high, found["max"].low) == (high + 2, high, None)
    assert found["max"].p_value == pytest.approx(5 / 1005 * 4 / 1004)
    assert not found["min"].outside
    assert found["min"].p_value == 1.0


def test_half_of_the_windows_as_large_as_the_baseline_reach_beyond_it() -> None:
    """Why a bare comparison with the baseline's maximum tells nothing: its rate depends on the rows alone."""
    rng = np.random.default_rng(1)
    rows, reference_rows, outside = 300, 300, []
    for _ in range(60):
        reference = rng.standard_t(3, size=(reference_rows, 1))
        profile = BaselineProfile.fit(reference, numeric_schema(1), detectors=["tail"])  # the quickest one
        outside.append(findings(rng.standard_t(3, size=(rows, 1)), profile)["max"])
    share = rows / (rows + reference_rows)
    assert {result.expected for result in outside} == {share}
    found = sum(result.outside for result in outside)
    assert stats.binomtest(found, len(outside), share).pvalue > 0.001
    small = sum(result.p_value <= 0.1 for result in outside)
    assert stats.binomtest(small, len(outside), 0.1, alternative="greater").pvalue > 0.001


def test_the_mean_may_stray_by_three_standard_errors_of_both_samples() -> None:
    error = REFERENCE.std() * math.sqrt(1 / 400 + 1 / 1000)
    values = np.tile([[-1.0], [1.0]], (200, 1))
    near, far = findings(REFERENCE.mean() + values + 2.9 * error), findings(REFERENCE.mean() + values + 3.1 * error)
    assert (near["mean"].outside, far["mean"].outside) == (False, True)
    assert far["mean"].p_value == pytest.approx(2 * stats.norm.sf(3.1))
    assert far["mean"].expected == pytest.approx(2 * stats.norm.sf(3.0))


def test_the_spread_may_be_three_times_the_baselines() -> None:
    spread = float(REFERENCE.std())
    assert not findings(np.array([[-2.9], [2.9]]) * spread)["standard_deviation"].outside
    found = findings(np.array([[-3.1], [3.1]]) * spread)["standard_deviation"]
    assert found.outside
    assert found.p_value == pytest.approx(3.1**-2)
    assert findings(np.array([[1.0], [1.0]]))["standard_deviation"].p_value == 1.0


def test_what_has_no_range_says_so() -> None:
    profile = mixed_profile()
    (height, colour, _) = outside_range(profile, summarise_matrix(np.array([[np.nan, 0.0, 0.0]]), profile))
    assert set(height.values()) == {NotMeasured("the window has no value")}
    assert set(colour.values()) == {NotMeasured("categories have no range")}
    matrix = np.column_stack([np.ones(300), np.random.default_rng(2).normal(size=300)])
    constant = BaselineProfile.fit(matrix, numeric_schema(2))
    (found, other) = outside_range(constant, summarise_matrix(np.array([[2.0, 1e308]]), constant))
    assert found["mean"] == found["standard_deviation"] == NotMeasured("the baseline's values are all the same")
    assert isinstance(found["max"], Outside)
    assert found["max"].outside
    assert other["standard_deviation"] == NotMeasured("needs 2 values, the window has 1")
    (_, wild) = outside_range(
        constant, summarise_matrix(np.array([[1.0, 1e308], [1.0, 1e308], [1.0, -1e308]]), constant)
    )
    assert wild["standard_deviation"] == NotMeasured("the spread is too large for a number")
    huge = np.array([[1.0, 1.7e308]] * 3 + [[1.0, -1.7e308]])
    (_, wilder) = outside_range(constant, summarise_matrix(huge, constant))
    assert wilder["mean"] == NotMeasured("the window's mean is too large for a number")


@pytest.mark.parametrize(("at_least", "trials"), [(0, 10), (1, 10), (10, 10), (30, 5000), (5000, 5000), (400, 5000)])
@pytest.mark.parametrize(("rate", "evidence"), [(0.001, 100), (0.05, 10_000), (0.9, 50)])
def test_the_tail_is_scipys(at_least: int, trials: int, rate: float, evidence: float) -> None:
    # Its survival function is one less the other side; its probabilities keep small tails.
    counts = np.arange(at_least, trials + 1)
    expected = np.exp(stats.betabinom.logpmf(counts, trials, rate * evidence, (1 - rate) * evidence)).sum()
    assert beta_binomial_tail(at_least, trials, rate, evidence) == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_the_outlier_rate_is_compared_with_false_alarms_and_known_outliers() -> None:
    known = np.arange(1000) < 50
    profile = BaselineProfile.fit(REFERENCE + 9.0 * known[:, None], numeric_schema(1), outlier=known)
    usual = summarise_matrix(REFERENCE, profile, outlier=np.arange(1000) < 50)
    found = outlier_rate(profile, usual, rate=0.01)
    assert isinstance(found, OutlierRate)
    assert (found.rate, found.expected) == (0.05, pytest.approx(0.05 + 0.95 * 0.01))
    assert found.p_value > 0.5
    many = outlier_rate(profile, summarise_matrix(REFERENCE, profile, outlier=np.arange(1000) < 200), rate=0.01)
    assert isinstance(many, OutlierRate)
    assert many.p_value < 1e-6


def test_the_outlier_rate_of_sampled_traffic_is_that_of_all_traffic() -> None:
    """Every flagged request is logged, and one in ten of the others."""
    profile = mixed_profile()
    rows = profile.schema.decode_rows(mixed_rows(100))
    flags = [at < 10 for at in range(100)]
    records = [
        make_record(features=[row], outlier=[flag], weight=1.0 if flag else 10.0)
        for row, flag in zip(rows, flags, strict=True)
    ]
    found = outlier_rate(profile, summarise(records, [], profile), rate=0.01)
    assert isinstance(found, OutlierRate)
    assert found.rate == pytest.approx(10 / 910)


def test_without_scored_rows_there_is_no_rate() -> None:
    assert outlier_rate(PROFILE, summarise_matrix(REFERENCE, PROFILE), rate=0.01) == NotMeasured("no row was scored")
