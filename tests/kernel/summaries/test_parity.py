"""Every statistic of a window against numpy, scipy and pandas, merged from parts, where naive sums would be lost."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tests.support.examples import monitor_document, numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.features import Matrix
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.statistics import feature_statistics
from tidegauge.summaries.sketches import MOST_KEPT, RANK_ERROR
from tidegauge.summaries.window_summary import WindowSummary, summarise_matrix
from tidegauge.window_statistics import window_statistics

MONITOR = parse_monitor(monitor_document())
FEATURES = 3

SCALES = {
    "usual": (0.0, 1.0),
    "far-off": (1e9, 1.0),
    "tiny": (0.0, 1e-9),
    "tiny-and-off": (1e-3, 1e-9),
    "huge": (0.0, 1e98),
}


def correlated(rows: int, offset: float, scale: float, *, seed: int = 3) -> Matrix:
    rng = np.random.default_rng(seed)
    mixing = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -0.3], [0.2, 0.0, 1.0]])
    return np.asarray(offset + scale * (rng.normal(size=(rows, FEATURES)) @ mixing))


def profile(offset: float, scale: float) -> BaselineProfile:
    return BaselineProfile.fit(correlated(400, offset, scale, seed=4), numeric_schema(FEATURES))


def merged(matrix: Matrix, of: BaselineProfile, parts: int = 7, **more: Any) -> WindowSummary:
    cuts = np.array_split(np.arange(len(matrix)), parts)
    pieces = [summarise_matrix(matrix[cut], of, **{n: np.asarray(v)[cut] for n, v in more.items()}) for cut in cuts]
    return reduce(WindowSummary.merge, [WindowSummary.decode(piece.encode()) for piece in pieces])


def statistics(matrix: Matrix, of: BaselineProfile, monitor: ModelMonitor = MONITOR, **more: Any) -> list[Any]:
    return feature_statistics(monitor, of, merged(matrix, of, **more))


@pytest.mark.parametrize(("offset", "scale"), SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "with-gaps"])
def test_moments_are_numpys(offset: float, scale: float, gaps: bool) -> None:
    matrix = correlated(1000, offset, scale)
    if gaps:
        matrix[np.random.default_rng(5).random(matrix.shape) < 0.1] = np.nan
        matrix[7, 0], matrix[8, 0] = np.inf, -np.inf
    for column, found in zip(matrix.T, statistics(matrix, profile(offset, scale)), strict=True):
        values = column[np.isfinite(column)]
        # About one of the values, the reference itself loses no digits.
        shifted = values - values[0]
        assert (found["count"], found["missing"]) == (len(values), 1000 - len(values))
        assert found["non_finite"] == np.isinf(column).sum()
        assert (found["min"], found["max"]) == (values.min(), values.max())
        assert found["mean"] == pytest.approx(values[0] + shifted.mean(), rel=1e-9, abs=1e-9 * scale)
        assert found["sum"] == pytest.approx(values.sum(), rel=1e-9, abs=1e-6 * scale)
        assert found["sum_of_squares"] == pytest.approx((values**2).sum(), rel=1e-9)
        assert found["standard_deviation"] == pytest.approx(shifted.std(ddof=1), rel=1e-9)
        assert found["population_standard_deviation"] == pytest.approx(shifted.std(), rel=1e-9)


@pytest.mark.parametrize(("offset", "scale"), SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "with-gaps"])
def test_covariance_and_correlation_are_pandas(offset: float, scale: float, gaps: bool) -> None:
    """pandas takes the rows that have a value in both, too; about one of the values it loses no digits either."""
    matrix = correlated(1000, offset, scale)
    if gaps:
        matrix[np.random.default_rng(5).random(matrix.shape) < 0.1] = np.nan
    of = profile(offset, scale)
    found = window_statistics(MONITOR, of, merged(matrix, of))["covariance"]
    frame = pd.DataFrame(matrix - np.nanmin(matrix, axis=0))
    upper = np.triu_indices(FEATURES)
    np.testing.assert_allclose(found["covariance"], frame.cov().to_numpy()[upper], rtol=1e-9, atol=1e-9 * scale**2)
    # pandas' squares overflow where ours do not.
    expected = (frame / scale).corr().to_numpy()[upper]
    np.testing.assert_allclose(found["correlation"], expected, rtol=1e-9, atol=1e-9)
    assert (
        found["rows"] == (frame.notna().to_numpy().astype(int).T @ frame.notna().to_numpy().astype(int))[upper].tolist()
    )


def test_covariance_without_gaps_is_numpys_and_the_correlation_scipys() -> None:
    matrix, of = correlated(500, 0.0, 1.0), profile(0.0, 1.0)
    found = window_statistics(MONITOR, of, merged(matrix, of))["covariance"]
    np.testing.assert_allclose(found["covariance"], np.cov(matrix.T)[np.triu_indices(FEATURES)], rtol=1e-9)
    assert found["correlation"][1] == pytest.approx(stats.pearsonr(matrix[:, 0], matrix[:, 1]).statistic, rel=1e-9)


@pytest.mark.parametrize(("offset", "scale"), SCALES.values(), ids=SCALES)
def test_percentiles_of_few_values_are_numpys(offset: float, scale: float) -> None:
    """Up to single precision about the baseline's mean."""
    matrix = correlated(MOST_KEPT, offset, scale)
    for column, found in zip(matrix.T, statistics(matrix, profile(offset, scale)), strict=True):
        expected = np.percentile(column, [1, 5, 25, 50, 75, 95, 99], method="inverted_cdf")
        np.testing.assert_allclose(list(found["percentiles"].values()), expected, rtol=1e-6, atol=1e-6 * scale)
        assert found["iqr"] == pytest.approx(expected[4] - expected[2], rel=1e-5)
        assert found["rank_error"] == 0.0


@pytest.mark.parametrize("parts", [1, 3, 40])
def test_percentiles_of_many_values_are_within_the_stated_error_of_ranks(parts: int) -> None:
    """The error holds for all ranks of 99 in 100 sketches: one of the three may be a little beyond it, and none far."""
    matrix = correlated(20_000, 0.0, 1.0)
    summary = merged(matrix, profile(0.0, 1.0), parts)
    largest = []
    for column, found in zip(matrix.T, feature_statistics(MONITOR, profile(0.0, 1.0), summary), strict=True):
        assert found["rank_error"] == pytest.approx(RANK_ERROR)
        ranks = {float(name): (column <= value).mean() * 100 for name, value in found["percentiles"].items()}
        largest.append(max(abs(rank - asked) / 100 for asked, rank in ranks.items()))
    assert sum(distance > RANK_ERROR for distance in largest) <= 1
    assert max(largest) < 2 * RANK_ERROR


WEIGHTS = st.lists(st.sampled_from([1.0, 2.0, 10.0]), min_size=2, max_size=60)


@settings(max_examples=30)
@given(WEIGHTS)
def test_a_row_of_weight_ten_counts_as_ten_rows(weights: list[float]) -> None:
    of = profile(0.0, 1.0)
    matrix = correlated(len(weights), 0.0, 1.0)
    repeated: Matrix = np.repeat(matrix, np.array(weights, dtype=int), axis=0)
    plain = statistics(repeated, of)
    for found, expected in zip(statistics(matrix, of, weights=weights), plain, strict=True):
        assert (found["count"], found["weight"]) == (len(weights), expected["weight"])
        for name in ("sum", "sum_of_squares", "mean", "population_standard_deviation"):
            assert found[name] == pytest.approx(expected[name], rel=1e-9, abs=1e-12)
        # Ten like rows are not ten independent ones: the divisor is that of the rows there are.
        inflated = expected["population_standard_deviation"] * np.sqrt(len(weights) / (len(weights) - 1))
        assert found["standard_deviation"] == pytest.approx(inflated, rel=1e-9)
        assert found["distribution"] == expected["distribution"]
        if expected["rank_error"] == 0:
            assert found["percentiles"] == expected["percentiles"]


def test_weighted_covariance_is_numpys_with_frequencies() -> None:
    of, weights = profile(0.0, 1.0), np.tile([1.0, 4.0], 50)
    matrix = correlated(100, 0.0, 1.0)
    for gap in (False, True):
        matrix[0, 0] = np.nan if gap else matrix[0, 0]
        cross = merged(matrix, of, weights=weights).cross
        assert cross is not None
        rows = slice(int(gap), None)
        expected = np.cov(matrix[rows].T, fweights=weights[rows].astype(int), ddof=0)[0] * (100 - gap) / (99 - gap)
        np.testing.assert_allclose(cross.covariance()[0], expected, rtol=1e-9)


def test_effective_rows_are_kishs() -> None:
    of, weights = profile(0.0, 1.0), np.array([1.0, 1.0, 4.0, 4.0, 10.0])
    matrix = correlated(5, 0.0, 1.0)
    matrix[4, 0] = np.nan
    (first, second, _) = merged(matrix, of, 2, weights=weights).bins.weighted
    assert first.effective_rows == pytest.approx(20.0**2 / 134)
    assert first.effective_values == pytest.approx(10.0**2 / 34)
    assert second.effective_values == first.effective_rows
    assert merged(matrix[:0], of, 1).bins.weighted[0].effective_rows == 0.0


def test_effective_rows_without_weights_are_the_rows() -> None:
    of = profile(0.0, 1.0)
    (first, *_) = merged(correlated(50, 0.0, 1.0), of).bins.weighted
    assert (first.effective_rows, first.effective_values) == (50.0, 50.0)


def test_beyond_many_features_pairs_are_measured_on_whole_rows() -> None:
    rng = np.random.default_rng(1)
    of = BaselineProfile.fit(rng.normal(size=(300, 70)), numeric_schema(70))
    matrix = rng.normal(size=(100, 70))
    matrix[::4, 0] = np.nan
    whole: NDArray[np.float64] = matrix[~np.isnan(matrix[:, 0])]
    for weights in (None, np.full(100, 2.0)):
        more = {} if weights is None else {"weights": weights}
        summary = merged(matrix, of, 5, **more)
        assert summary.cross is not None
        assert summary.cross.count[3, 4] == 75
        np.testing.assert_allclose(summary.cross.covariance(), np.cov(whole.T), rtol=1e-9, atol=1e-12)
        report = window_statistics(MONITOR, of, summary)["covariance"]
        assert report == {"measured": False, "why": "a report has it for 64 features at most, not for 70"}


def test_state_is_less_than_5_kb_a_feature() -> None:
    for features in (30, 300):
        rng = np.random.default_rng(2)
        of = BaselineProfile.fit(rng.normal(size=(300, features)), numeric_schema(features))
        matrix = rng.normal(size=(4000, features))
        matrix[rng.random(matrix.shape) < 0.01] = np.nan
        assert len(merged(matrix, of, 2).encode()) / features < 5000
