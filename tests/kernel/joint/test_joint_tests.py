"""Joint tests: what they measure, beside scipy's distributions, and when they cannot say."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, ncx2, norm

from tests.support.examples import numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.joint import JOINT_TESTS, run_joint_tests
from tidegauge.joint.correlation import SMALLEST_CHANGE, correlation_changes
from tidegauge.joint.evidence import Evidence
from tidegauge.joint.mean_shift import LEAST_VARIANCE, mean_shifts
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.window_summary import summarise_matrix

ROWS = 4000


def rows(correlation: float = 0.8, *, seed: int = 1, count: int = ROWS) -> Matrix:
    covariance = [[1.0, correlation, 0.0], [correlation, 1.0, 0.0], [0.0, 0.0, 1.0]]
    return np.random.default_rng(seed).multivariate_normal(np.zeros(3), covariance, count)


PROFILE = BaselineProfile.fit(rows(), numeric_schema(3), detectors=("tail", "mahalanobis"))


def evidence(matrix: Matrix | None = None, **changes: Any) -> Evidence:
    fields: dict[str, Any] = {
        "profile": PROFILE,
        "summary": summarise_matrix(rows(seed=2) if matrix is None else matrix, PROFILE),
        "locations": {"f0": 0.2, "f1": -0.1, "f2": 0.0},
        "rows": ROWS,
        "min_count": 100,
        "baseline": 0.001,
        "minimum_shift": 0.1,
    }
    return Evidence(**(fields | changes))


def mean_shift(evidence: Evidence) -> DriftResult:
    (found,) = mean_shifts([evidence])
    return found


def correlation_change(evidence: Evidence) -> DriftResult:
    (found,) = correlation_changes([evidence])
    return found


def measured(result: object) -> Measured:
    assert isinstance(result, Measured)
    assert result.threshold is None  # none of them decides
    return result


def test_the_mean_shift_is_hotellings_against_the_interval_null() -> None:
    found = measured(mean_shift(evidence(dispersion=2.0)))
    correlation = evidence().correlation
    assert correlation is not None
    shifts = np.array([0.2, -0.1, 0.0])
    squared = shifts @ np.linalg.solve(correlation, shifts)
    assert np.linalg.eigvalsh(correlation).min() > LEAST_VARIANCE
    assert found.effect == pytest.approx(math.sqrt(squared))
    allowed = max(0.1**2, chi2.isf(0.001, 3) / ROWS)
    assert found.p_value == pytest.approx(ncx2.sf(ROWS / 2 * squared, 3, ROWS / 2 * allowed), rel=1e-6)


def test_dependent_features_do_not_blow_a_shift_up() -> None:
    first = np.random.default_rng(3).normal(size=(ROWS, 1))
    profile = BaselineProfile.fit(np.hstack([first, 2 * first]), numeric_schema(2), detectors=("mahalanobis",))
    found = measured(mean_shift(evidence(profile=profile, locations={"f0": 0.1, "f1": 0.09})))
    assert found.effect < 0.2


def test_a_mean_shift_needs_rows_a_correlation_and_two_features() -> None:
    assert mean_shift(evidence(rows=99)) == NotMeasured("needs 100 rows, the window has 99")
    bare = BaselineProfile.fit(rows(), numeric_schema(3), detectors=("tail",))
    result = mean_shift(evidence(profile=bare))
    assert isinstance(result, NotMeasured)
    assert "without the detector mahalanobis" in result.why
    assert mean_shift(evidence(locations={"f0": 0.2})) == NotMeasured("needs two numeric features that vary")


def test_the_largest_change_of_a_correlation_is_found_and_signed() -> None:
    changed = rows(0.8, seed=2)
    changed[:, 2] += changed[:, 0]  # from 0 to 1 / sqrt(2)
    found = measured(correlation_change(evidence(changed)))
    assert found.effect == pytest.approx(1 / math.sqrt(2), abs=0.03)
    correlation, now = PROFILE.correlations, np.corrcoef(changed.T)
    assert correlation is not None
    apart = abs(math.atanh(now[0, 2]) - math.atanh(correlation[0, 2])) - math.atanh(SMALLEST_CHANGE)
    assert found.log_p_value == pytest.approx(norm.logsf(apart * math.sqrt(ROWS - 3)) + math.log(6), rel=1e-3)


def test_usual_correlations_have_not_changed() -> None:
    found = measured(correlation_change(evidence()))
    assert (found.p_value, found.statistic) == (1.0, 0.0)
    assert abs(found.effect) < 0.1


def test_outliers_and_heavy_tails_of_the_baseline_are_no_change() -> None:
    """Their correlations are other than those of the rows nearest the centre: windows have them too."""
    rng = np.random.default_rng(8)

    def traffic(count: int) -> Matrix:
        matrix = np.hstack([rows(seed=int(rng.integers(1 << 30)), count=count), rng.standard_t(2.5, size=(count, 2))])
        outlying = rng.random(count) < 0.07
        matrix[outlying, :2] += 6.0 * np.array([1.0, -1.0])
        return matrix

    profile = BaselineProfile.fit(traffic(ROWS), numeric_schema(5), detectors=("mahalanobis",))
    found = measured(correlation_change(evidence(profile=profile, summary=summarise_matrix(traffic(ROWS), profile))))
    assert found.p_value == 1.0
    assert abs(found.effect) < 0.2


def test_correlations_need_cross_moments_rows_and_two_features() -> None:
    off = summarise_matrix(rows(), PROFILE, statistics=Statistics(covariance=False))
    assert correlation_change(evidence(summary=off)) == NotMeasured(
        "statistics.covariance is off, or was for a part of the window"
    )
    few = correlation_change(evidence(rows(count=50)))
    assert few == NotMeasured("needs two features that vary, with 100 rows that have both")
    schema = FeatureSchema((FeatureSpec("a"), FeatureSpec("b", "categorical", ("x", "y"))))
    matrix = np.column_stack([rows()[:, 0], np.arange(ROWS) % 2])
    alone = BaselineProfile.fit(matrix, schema, detectors=("mahalanobis",))
    assert isinstance(correlation_change(evidence(profile=alone, summary=summarise_matrix(matrix, alone))), NotMeasured)


def test_a_baseline_from_before_correlations_were_kept_says_so() -> None:
    old = correlation_change(evidence(profile=dataclasses.replace(PROFILE, correlations=None)))
    assert isinstance(old, NotMeasured)
    assert "fit it anew" in old.why


def test_several_windows_are_tested_at_once_with_the_answers_that_each_has_alone() -> None:
    windows = [evidence(), evidence(rows=99), evidence(rows(0.5, seed=3), dispersion=2.0)]
    together = run_joint_tests(windows)
    assert [list(results) for results in together] == [list(JOINT_TESTS)] * 3
    for window, results in zip(windows, together, strict=True):
        assert dict(results) == {"mean_shift": mean_shift(window), "correlation": correlation_change(window)}
