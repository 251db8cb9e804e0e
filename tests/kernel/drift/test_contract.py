"""What every drift test must do; the table of tests is the list of cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.bins import one_feature, result_of
from tidegauge.binning import count_bins, cut_edges
from tidegauge.drift import DRIFT_TESTS, REPORTED_TESTS, DriftTest, run_tests
from tidegauge.drift.contract import check_drift_test
from tidegauge.drift.own import Finding
from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, FeatureBins, WindowBins
from tidegauge.errors import IncompatibleSummaries
from tidegauge.features import FeatureSpec, Kind

NUMBER = FeatureSpec("x")
LEVEL = AlarmLevel(window=1e-6, baseline=1e-4, minimum_effect=0.0)
REFERENCE = np.random.default_rng(1).normal(size=20_000)
EDGES = cut_edges(NUMBER, REFERENCE)


def bins(window: NDArray[np.float64], *, min_count: int = 100) -> WindowBins:
    return one_feature("numeric", count_bins(EDGES, REFERENCE), count_bins(EDGES, window), min_count)


@pytest.fixture(params=DRIFT_TESTS)
def test(request: pytest.FixtureRequest) -> DriftTest:
    return DRIFT_TESTS[request.param]


@pytest.mark.parametrize("name", [*DRIFT_TESTS, *REPORTED_TESTS])
def test_a_built_in_test_keeps_what_is_asked_of_a_users_own(name: str) -> None:
    def one_at_a_time(bins: FeatureBins, level: AlarmLevel) -> Finding | NotMeasured:
        result = result_of({**DRIFT_TESTS, **REPORTED_TESTS}[name], WindowBins.of([bins], min_count=1), level)
        return result if isinstance(result, NotMeasured) else Finding(result.effect, result.unit, result.p_value)

    check_drift_test(one_at_a_time, decides=name in DRIFT_TESTS)


def test_the_reference_itself_has_not_drifted(test: DriftTest) -> None:
    result = result_of(test, bins(REFERENCE), LEVEL)
    assert isinstance(result, Measured)
    assert not result.drifted
    assert result.effect == pytest.approx(0.0, abs=1e-9)
    assert result.p_value == pytest.approx(1.0)
    assert result.threshold == LEVEL.window


def test_a_window_of_nothing_but_one_value_has_drifted(test: DriftTest) -> None:
    result = result_of(test, bins(np.full(1000, 2.0)), LEVEL)
    assert isinstance(result, Measured)
    assert result.drifted
    assert result.p_value <= result.threshold


@pytest.mark.parametrize("rows", [0, 1, 99])
def test_few_rows_cannot_be_judged(test: DriftTest, rows: int) -> None:
    result = result_of(test, bins(np.full(rows, 2.0)), LEVEL)
    assert isinstance(result, NotMeasured)
    assert f"needs 100 {'rows' if 'rows' in result.why else 'values'}, the window has {rows}" == result.why


def test_as_many_rows_as_it_takes_can_be_judged(test: DriftTest) -> None:
    assert isinstance(result_of(test, bins(np.full(100, 2.0)), LEVEL), Measured)


@given(seed=st.integers(0, 2**32), cut=st.integers(0, 500))
def test_merged_counts_give_the_verdict_on_all_rows(seed: int, cut: int) -> None:
    window = np.random.default_rng(seed).normal(0.2, 1.3, size=500)
    parts = count_bins(EDGES, window[:cut]) + count_bins(EDGES, window[cut:])
    merged = one_feature("numeric", count_bins(EDGES, REFERENCE), parts, 100)
    for test in DRIFT_TESTS.values():
        assert result_of(test, merged, LEVEL) == result_of(test, bins(window[::-1]), LEVEL)


@given(
    reference=st.lists(st.integers(0, 1000), min_size=3, max_size=40).filter(lambda counts: sum(counts[:-1]) > 0),
    data=st.data(),
    minimum_effect=st.floats(0.0, 1.0),
    dispersion=st.floats(1.0, 100.0),
)
def test_any_counts_give_a_probability_and_a_verdict_that_agree(
    reference: list[int], data: st.DataObject, minimum_effect: float, dispersion: float
) -> None:
    counts = st.integers(0, 10**6)
    window = data.draw(st.lists(counts, min_size=len(reference), max_size=len(reference)))
    level = AlarmLevel(1e-7, 1e-4, minimum_effect, dispersion)
    for test in DRIFT_TESTS.values():
        result = result_of(test, one_feature("numeric", np.array(reference), np.array(window), 1), level)
        if isinstance(result, Measured):
            assert 0.0 <= result.p_value <= 1.0
            assert np.isfinite([result.statistic, result.effect]).all()
            assert result.drifted == (result.p_value <= 1e-7)
        else:
            assert result.why


def test_a_change_within_the_minimum_effect_is_no_drift_however_certain(test: DriftTest) -> None:
    moved = bins(np.random.default_rng(2).normal(0.1, 1.0, size=1_000_000))
    without = result_of(test, moved, AlarmLevel(1e-6, 1e-4, 0.0))
    allowed = result_of(test, moved, AlarmLevel(1e-6, 1e-4, 0.2))
    assert isinstance(without, Measured)
    assert isinstance(allowed, Measured)
    assert without.drifted
    assert not allowed.drifted
    assert allowed.effect == without.effect


def test_dispersed_traffic_needs_more_evidence(test: DriftTest) -> None:
    moved = bins(np.random.default_rng(3).normal(0.5, 1.5, size=1000))
    results = [result_of(test, moved, AlarmLevel(1e-6, 1e-4, 0.0, dispersion)) for dispersion in (1.0, 3.0, 50.0)]
    p_values = [result.p_value for result in results if isinstance(result, Measured)]
    assert p_values == sorted(p_values)
    assert p_values[0] < 1e-6 < p_values[2]


def test_a_small_baseline_is_believed_less_than_a_large_one(test: DriftTest) -> None:
    """The same shares with a tenth and a hundredth of the rows behind them."""
    window = count_bins(EDGES, np.random.default_rng(4).normal(0.3, 1.0, size=2000))
    whole = count_bins(EDGES, REFERENCE)
    results = [result_of(test, one_feature("numeric", whole // share, window, 100), LEVEL) for share in (1, 10, 100)]
    p_values = [result.p_value for result in results if isinstance(result, Measured)]
    assert p_values == sorted(p_values)
    assert p_values[0] < 1e-6 < p_values[2]


@pytest.mark.parametrize("name", [*DRIFT_TESTS, *REPORTED_TESTS])
def test_a_feature_is_judged_alike_alone_and_among_others(name: str) -> None:
    test = {**DRIFT_TESTS, **REPORTED_TESTS}[name]
    rng = np.random.default_rng(5)
    sizes = [2, 3, 20, 34, 20, 900, 5]
    kinds: list[Kind] = ["numeric", "boolean", "numeric", "numeric", "categorical", "categorical", "boolean"]
    features = [
        FeatureBins("x", kind, rng.poisson(9.0, size), rng.poisson(rng.choice([0.1, 5.0, 9.0]), size))
        for kind, size in zip(kinds, sizes, strict=True)
    ]
    dispersions = np.array([1.0, 2.0, 1.5, 40.0, 1.0, 1.0, 3.0])
    level = AlarmLevel(1e-6, 1e-4, 0.001, dispersions)
    among = run_tests({"test": test}, WindowBins.of(features, min_count=5), {"test": level})
    for feature, dispersion, found in zip(features, dispersions.tolist(), among, strict=True):
        alone = result_of(test, WindowBins.of([feature], min_count=5), level.scaled(dispersion))
        assert numbers_of(found["test"]) == pytest.approx(numbers_of(alone), rel=1e-12, abs=1e-12)


def numbers_of(result: DriftResult) -> tuple[float, ...]:
    return (result.statistic, result.log_p_value, result.effect) if isinstance(result, Measured) else ()


def test_bins_of_another_grid_are_refused() -> None:
    with pytest.raises(IncompatibleSummaries, match="bins differs"):
        one_feature("numeric", np.zeros(4, int), np.zeros(5, int), 100)
