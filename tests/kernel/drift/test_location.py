"""The location test: in standard deviations, signed, and silent where there is no order."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from tests.support.bins import one_feature, result_of
from tidegauge.binning import count_bins, cut_edges
from tidegauge.drift.location import location
from tidegauge.drift.results import Measured, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel
from tidegauge.features import FeatureSpec

LEVEL = AlarmLevel(window=1e-6, baseline=1e-4, minimum_effect=0.1)
RNG = np.random.default_rng(1)
REFERENCE = RNG.normal(size=50_000)
EDGES = cut_edges(FeatureSpec("x"), REFERENCE)


def moved(shift: float, *, rows: int = 20_000, scale: float = 1.0, offset: float = 0.0) -> Measured:
    edges = cut_edges(FeatureSpec("x"), REFERENCE * scale + offset)
    window = (np.random.default_rng(2).normal(size=rows) + shift) * scale + offset
    counts = count_bins(edges, REFERENCE * scale + offset)
    result = result_of(location, one_feature("numeric", counts, count_bins(edges, window), 100), LEVEL)
    assert isinstance(result, Measured)
    return result


@pytest.mark.parametrize("shift", [-0.5, -0.2, 0.0, 0.2, 0.5])
def test_the_effect_is_the_shift_in_standard_deviations(shift: float) -> None:
    result = moved(shift)
    assert result.effect == pytest.approx(shift, abs=0.05)
    assert result.unit == "standard deviations"


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_features_unit_does_not_matter(scale: float) -> None:
    assert moved(0.3, scale=scale, offset=3 * scale).effect == pytest.approx(moved(0.3).effect, abs=1e-3)


def test_the_p_value_is_that_of_the_interval_null() -> None:
    result = moved(0.2)
    allowed = max(0.1, norm.isf(LEVEL.baseline / 2) / np.sqrt(50_000))
    assert result.p_value == pytest.approx(2 * norm.sf((result.effect - allowed) * np.sqrt(20_000)), rel=1e-6)
    assert result.statistic == pytest.approx(result.effect * np.sqrt(20_000))


def test_the_baselines_own_uncertainty_widens_the_null() -> None:
    few = one_feature("numeric", count_bins(EDGES, REFERENCE[:200]), count_bins(EDGES, REFERENCE[:5000] + 0.2), 100)
    result = result_of(location, few, LEVEL)
    assert isinstance(result, Measured)
    assert not result.drifted


def test_wild_values_do_not_move_it() -> None:
    """A mean would be off by a hundred standard deviations."""
    window = np.random.default_rng(3).normal(size=10_000)
    window[:10] = 1e5
    result = result_of(
        location, one_feature("numeric", count_bins(EDGES, REFERENCE), count_bins(EDGES, window), 100), LEVEL
    )
    assert isinstance(result, Measured)
    assert abs(result.effect) < 0.05


def test_missing_values_are_left_out() -> None:
    window = np.concatenate([np.random.default_rng(4).normal(size=500), np.full(5000, np.nan)])
    counts = count_bins(EDGES, REFERENCE)
    result = result_of(location, one_feature("numeric", counts, count_bins(EDGES, window), 100), LEVEL)
    assert isinstance(result, Measured)
    assert not result.drifted
    few = result_of(location, one_feature("numeric", counts, count_bins(EDGES, window[450:]), 100), LEVEL)
    assert few == NotMeasured("needs 100 values, the window has 50")


def test_categories_have_no_location() -> None:
    counts = np.array([0, 500, 500, 0])
    assert result_of(location, one_feature("categorical", counts, counts, 100), LEVEL) == NotMeasured(
        "categories have no location"
    )


def test_a_constant_reference_has_no_spread_to_measure_by() -> None:
    counts = np.array([0, 500, 0, 0])
    assert result_of(location, one_feature("numeric", counts, counts, 100), LEVEL) == NotMeasured(
        "the baseline's values are all in one bin"
    )


def test_a_boolean_moves_with_its_share() -> None:
    boolean = one_feature("boolean", np.array([0, 8000, 2000, 0, 0]), np.array([0, 500, 500, 0, 0]), 100)
    result = result_of(location, boolean, LEVEL)
    assert isinstance(result, Measured)
    assert result.effect == pytest.approx(0.3 / np.sqrt(0.8 * 0.2))
    assert result.drifted
