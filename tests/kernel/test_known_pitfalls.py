"""
Mistakes that systems of this kind have made with window statistics, one test for each: the numbers are such that the
mistake would show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.examples import make_record, mixed_profile, mixed_rows, monitor_document, numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.descriptive import outside_range
from tidegauge.drift.results import Measured, NotMeasured
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.monitor import parse_monitor
from tidegauge.statistics import feature_statistics
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.window_summary import WindowSummary, summarise, summarise_matrix
from tidegauge.verdict import WindowReport, judge
from tidegauge.window_statistics import window_statistics
from tidegauge.windows import Window

MONITOR = parse_monitor(monitor_document())
WINDOW = Window(1_700_000_000_000, 1_700_000_015_000)


def profile_of(matrix: Matrix) -> BaselineProfile:
    return BaselineProfile.fit(matrix, numeric_schema(matrix.shape[1]))


def normal(rows: int, features: int = 1, *, seed: int = 1) -> Matrix:
    return np.random.default_rng(seed).normal(size=(rows, features))


def statistics(matrix: Matrix, settings: Statistics | None = None) -> Any:
    profile = profile_of(normal(300, matrix.shape[1]) + matrix[0])
    return feature_statistics(MONITOR, profile, summarise_matrix(matrix, profile, statistics=settings))


def verdict(profile: BaselineProfile, summary: WindowSummary) -> WindowReport:
    return judge(monitor=MONITOR, profile=profile, version="1", window=WINDOW, summary=summary)


class TestPercentiles:
    def test_are_no_lowest_bin_because_of_a_division_of_whole_numbers(self) -> None:
        (found,) = statistics(np.arange(200.0)[:, None])
        assert found["percentiles"]["50"] == pytest.approx(99.0, abs=1e-4)
        assert found["iqr"] == pytest.approx(100.0, abs=1e-4)

    def test_at_both_ends_are_the_range(self) -> None:
        profile = profile_of(normal(300))
        monitor = parse_monitor(monitor_document(statistics={"percentiles": [0, 100]}))
        matrix = normal(5000, seed=2)
        (found,) = feature_statistics(monitor, profile, summarise_matrix(matrix, profile))
        assert found["percentiles"] == {"0": matrix.min(), "100": matrix.max()}

    def test_need_no_other_statistic_to_be_asked_for(self) -> None:
        monitor = parse_monitor(monitor_document(statistics={"percentiles": [50]}))
        profile = profile_of(normal(300))
        (found,) = feature_statistics(monitor, profile, summarise_matrix(np.array([[1.0]]), profile))
        assert found["percentiles"] == {"50": 1.0}


class TestMoments:
    def test_covariance_does_not_grow_with_the_rows(self) -> None:
        for rows in (20, 50, 5000):
            matrix = normal(rows, 2) @ np.array([[1.0, 0.5], [0.0, 1.0]])
            profile = profile_of(normal(300, 2))
            found = window_statistics(MONITOR, profile, summarise_matrix(matrix, profile))["covariance"]
            assert found["covariance"][1] == pytest.approx(np.cov(matrix.T)[0, 1], rel=1e-9)

    def test_covariance_of_one_row_is_not_said(self) -> None:
        profile = profile_of(normal(300, 2))
        found = window_statistics(MONITOR, profile, summarise_matrix(np.array([[1.0, 2.0]]), profile))["covariance"]
        assert found["covariance"] == found["correlation"] == [None, None, None]

    def test_covariance_does_not_change_with_the_batches_that_rows_come_in(self) -> None:
        matrix, profile = normal(100, 2) + 50, profile_of(normal(300, 2))
        whole = summarise_matrix(matrix, profile)
        parts = [summarise_matrix(matrix[at : at + 1], profile) for at in range(100)]
        merged = parts[0]
        for part in parts[1:]:
            merged = merged.merge(part)
        assert merged.cross is not None
        assert whole.cross is not None
        np.testing.assert_allclose(merged.cross.covariance(), whole.cross.covariance(), rtol=1e-9)

    def test_the_mean_is_not_the_range_over_the_count(self) -> None:
        (found,) = statistics(np.array([[1.0], [2.0], [6.0]]))
        assert found["mean"] == 3.0

    @pytest.mark.parametrize("offset", [0.0, 1e3, 1e4, 1e9])
    def test_the_standard_deviation_does_not_depend_on_the_offset(self, offset: float) -> None:
        values = np.random.default_rng(0).random((5000, 1)) + offset
        (found,) = statistics(values)
        assert found["standard_deviation"] == pytest.approx((values - offset).std(ddof=1), rel=1e-9)

    def test_small_numbers_are_not_rounded_to_two_digits(self) -> None:
        matrix = np.column_stack([np.linspace(0.003, 0.004, 50), np.linspace(0.004, 0.002, 50)])
        profile = profile_of(matrix.repeat(6, axis=0))
        summary = summarise_matrix(matrix, profile)
        assert feature_statistics(MONITOR, profile, summary)[0]["mean"] == pytest.approx(0.0035, rel=1e-12)
        assert window_statistics(MONITOR, profile, summary)["covariance"]["correlation"][1] == pytest.approx(-1.0)


class TestBins:
    def test_are_in_the_order_of_numbers_and_not_of_texts(self) -> None:
        edges = tuple(float(edge) for edge in range(-10, 20))
        values = np.arange(-10.0, 20.0)[:, None] + 0.5
        (found,) = statistics(values, Statistics(bins={"f0": edges}))
        assert found["given_distribution"]["counts"] == [0] + [1] * 30

    def test_one_edge_is_enough(self) -> None:
        (found,) = statistics(np.array([[1.0], [2.0], [3.0]]), Statistics(bins={"f0": (2.0,)}))
        assert found["given_distribution"]["counts"] == [1, 2]

    def test_none_need_to_be_given(self) -> None:
        (found,) = statistics(normal(100))
        assert sum(found["distribution"]["counts"]) == 100

    def test_values_beyond_all_edges_are_counted_so_the_worst_drift_shows(self) -> None:
        profile = profile_of(normal(1000))
        for far in (1e6, -1e6):
            summary = summarise_matrix(np.full((500, 1), far), profile)
            (found,) = feature_statistics(MONITOR, profile, summary)
            assert sum(found["distribution"]["counts"]) == 500
            report = verdict(profile, summary)
            assert report.drifted_features == ["f0"]
            result = report.features[0].tests["jensen_shannon"]
            assert isinstance(result, Measured)
            assert result.effect > 0.5

    def test_disjoint_supports_within_the_range_are_drift(self) -> None:
        reference = np.concatenate([np.linspace(0, 1, 500), np.linspace(9, 10, 500)])[:, None]
        profile = profile_of(reference)
        summary = summarise_matrix(np.linspace(4, 6, 500)[:, None], profile)
        assert verdict(profile, summary).drifted_features == ["f0"]

    def test_a_model_of_categories_alone_has_no_quantities(self) -> None:
        schema = FeatureSchema((FeatureSpec("kind", "categorical", ("a", "b")),))
        profile = BaselineProfile.fit((np.arange(400) % 2)[:, None].astype(float), schema)
        summary = summarise_matrix(np.array([[1.0]]), profile)
        again = WindowSummary.decode(summary.merge(summary).encode())
        assert window_statistics(MONITOR, profile, again)["covariance"]["covariance"] == []
        assert feature_statistics(MONITOR, profile, again)[0]["categories"]["top"][0]["value"] == "b"

    def test_few_categories_are_no_special_case(self) -> None:
        for size in (1, 2, 4):
            schema = FeatureSchema((FeatureSpec("kind", "categorical", tuple("abcd"[:size])), FeatureSpec("x")))
            codes = np.arange(400) % size
            profile = BaselineProfile.fit(np.column_stack([codes, normal(400)]).astype(float), schema)
            summary = summarise_matrix(np.array([[0.0, 1.0]]), profile)
            (found, _) = feature_statistics(MONITOR, profile, summary)
            assert found["categories"]["top"] == [{"value": "a", "count": 1, "share": 1.0}]


class TestMissingAndTexts:
    def test_null_is_missing_and_not_zero(self) -> None:
        profile = mixed_profile()
        records = [make_record(features=[[None, "red", True]]), make_record(features=[[170.0, "red", True]])]
        (height, *_) = feature_statistics(MONITOR, profile, summarise(records, [], profile))
        assert (height["count"], height["missing"], height["mean"]) == (1, 1, 170.0)

    def test_texts_and_whole_numbers_are_taken_for_what_the_feature_is(self) -> None:
        profile = mixed_profile()
        records = [make_record(features=[[170, "red", True]]), make_record(features=[["tall", 3, "open"]])]
        (height, colour, door) = feature_statistics(MONITOR, profile, summarise(records, [], profile))
        assert (height["mean"], height["missing"]) == (170.0, 1)
        assert colour["categories"]["unseen"]["count"] == 1
        assert (door["count"], door["missing"]) == (1, 1)


class TestFindingsOverWindows:
    def test_the_spread_is_compared_with_the_windows_and_not_with_each_value(self) -> None:
        """A value of 300 is no spread of 300."""
        profile = profile_of(normal(300) + 300)
        (found,) = outside_range(profile, summarise_matrix(normal(200, seed=2) + 300, profile))
        spread = found["standard_deviation"]
        assert not isinstance(spread, NotMeasured)
        assert not spread.outside

    def test_a_baseline_without_a_statistic_is_no_crash(self) -> None:
        profile = mixed_profile()
        report = verdict(profile, summarise_matrix(mixed_rows(200, seed=3), profile))
        (_, colour, _) = report.features
        assert colour.statistics["range"]["mean"] == {"measured": False, "why": "categories have no range"}
