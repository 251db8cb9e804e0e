"""The divergence against scipy's, and the kinds of change it sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, ncx2

from tests.support.bins import one_feature, result_of
from tidegauge.binning import count_bins, cut_edges
from tidegauge.drift.jensen_shannon import jensen_shannon
from tidegauge.drift.references import PSEUDO_COUNT
from tidegauge.drift.results import Measured
from tidegauge.drift.window_bins import AlarmLevel
from tidegauge.features import FeatureSpec

LEVEL = AlarmLevel(window=1e-6, baseline=1e-4, minimum_effect=0.002)
COUNTS = st.lists(st.integers(0, 5000), min_size=20, max_size=20)


def measured(kind: str, reference: NDArray[np.int64], window: NDArray[np.int64], level: AlarmLevel = LEVEL) -> Measured:
    result = result_of(jensen_shannon, one_feature(kind, reference, window, 1), level)  # type: ignore[arg-type]
    assert isinstance(result, Measured)
    return result


@given(reference=COUNTS, window=COUNTS.filter(any))
def test_the_effect_is_scipys_squared_distance_with_half_a_count_added(reference: list[int], window: list[int]) -> None:
    result = measured("numeric", np.array(reference) + 1, np.array(window))
    expected = jensenshannon(np.array(reference) + 1 + PSEUDO_COUNT, np.array(window) + PSEUDO_COUNT) ** 2
    assert result.effect == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert 0.0 <= result.effect <= math.log(2)
    assert result.unit == "nats"


def test_the_p_value_is_that_of_the_interval_null() -> None:
    reference, window = np.array([0, 500, 500, 0, 0]), np.array([0, 260, 340, 0, 0])
    for minimum_effect in (0.0, 0.004):
        result = measured("numeric", reference, window, AlarmLevel(1e-6, 1e-4, minimum_effect))
        allowed = max(minimum_effect, chi2.isf(1e-4, 4) / (8 * 1000))
        assert result.statistic == pytest.approx(8 * 600 * result.effect)
        assert result.p_value == pytest.approx(ncx2.sf(result.statistic, 4, 8 * 600 * allowed), rel=1e-8)


def drift_of(kind: str, feature: FeatureSpec, reference: NDArray[np.float64], window: NDArray[np.float64]) -> Measured:
    edges = cut_edges(feature, reference)
    return measured(kind, count_bins(edges, reference), count_bins(edges, window))


def test_a_jump_in_missing_values_is_drift() -> None:
    rng = np.random.default_rng(1)
    window = rng.normal(size=1000)
    window[:100] = np.nan
    assert drift_of("numeric", FeatureSpec("x"), rng.normal(size=20_000), window).drifted


def test_missing_values_at_the_usual_share_are_none() -> None:
    rng = np.random.default_rng(2)
    reference, window = rng.normal(size=20_000), rng.normal(size=1000)
    reference[rng.random(20_000) < 0.1] = np.nan
    window[rng.random(1000) < 0.1] = np.nan
    assert not drift_of("numeric", FeatureSpec("x"), reference, window).drifted


def test_new_categories_are_drift() -> None:
    rng = np.random.default_rng(3)
    colour = FeatureSpec("c", "categorical", ("a", "b", "c"))
    window = rng.integers(0, 3, 1000).astype(float)
    window[:80] = -1.0
    assert drift_of("categorical", colour, rng.integers(0, 3, 20_000).astype(float), window).drifted


@pytest.mark.parametrize("value", [-0.001, 0.001, 5.0])
def test_the_change_of_a_constant_is_drift(value: float) -> None:
    window = np.zeros(1000)
    window[:50] = value
    assert drift_of("numeric", FeatureSpec("x"), np.zeros(20_000), window).drifted


def test_a_constant_that_stays_is_none() -> None:
    assert not drift_of("numeric", FeatureSpec("x"), np.full(500, 3.0), np.full(100_000, 3.0)).drifted


def test_a_change_of_unit_far_beyond_the_range_is_drift() -> None:
    """5 % of the values a thousand times as large: they share no bin with what the reference has."""
    rng = np.random.default_rng(4)
    window = rng.exponential(size=1000)
    window[:50] *= 1000.0
    assert drift_of("numeric", FeatureSpec("x"), rng.exponential(size=20_000), window).drifted


def test_one_empty_bin_does_not_decide_the_divergence() -> None:
    reference = np.array([0, 6000, 6000, 8, 0, 0])
    assert not measured("numeric", reference, np.array([0, 500, 500, 0, 0, 0])).drifted
