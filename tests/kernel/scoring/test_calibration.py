"""P-values against brute force, their order, their tail, and what the size of the sample allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.stats import genpareto

from tidegauge.scoring.calibration import (
    EXACT_RANKS,
    TAIL_BELOW,
    TAIL_VALUES,
    Calibration,
    HeldOut,
    ParetoTail,
    Surprise,
    held_out_from_document,
    held_out_to_document,
    surprise_from_document,
    surprise_to_document,
)

Array = NDArray[np.float64]

SAMPLES = hnp.arrays(
    np.float64,
    st.integers(10, 200),
    elements=st.sampled_from([0.0, 0.5, 1.0, 2.0]) | st.floats(0.0, 50.0, width=32),
)


def truth(sample: Array, values: Array) -> Array:
    """(1 + how many of the sample are >= the value) / (n + 1)"""
    return np.asarray((1.0 + (sample[None, :] >= values[:, None]).sum(axis=1)) / (len(sample) + 1.0))


@given(sample=SAMPLES)
def test_p_values_of_a_small_sample_are_conformal_to_the_last_digit(sample: Array) -> None:
    values = np.concatenate([sample, sample + 1e-9, [-1.0, 100.0]])
    np.testing.assert_array_equal(HeldOut.fit(sample).p_values(values), truth(sample, values))


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "tied"])
def test_p_values_of_a_large_sample_are_exact_above_and_never_too_small_below(ties: bool) -> None:
    rng = np.random.default_rng(1)
    sample = rng.exponential(size=8000)
    sample = np.round(sample, 1) if ties else sample
    values = np.concatenate([sample[::3], rng.exponential(size=2000), [-1.0, 99.0]])
    p_values, exact = HeldOut.fit(sample).p_values(values), truth(sample, values)
    smallest_kept = np.sort(sample)[-EXACT_RANKS]
    np.testing.assert_array_equal(p_values[values > smallest_kept], exact[values > smallest_kept])
    assert (p_values >= exact).all()
    assert (p_values - exact).max() < 0.15 if ties else (p_values / exact).max() < 1.02


@pytest.mark.parametrize("size", [100, 999, 5000])
def test_p_values_do_not_rise_with_the_surprise(size: int) -> None:
    rng = np.random.default_rng(2)
    calibration = Calibration(HeldOut.fit(rng.exponential(size=size)))
    values = np.sort(np.concatenate([rng.exponential(size=500), np.linspace(0, 1e6, 500)]))
    p_values = calibration.p_values(values)
    assert (np.diff(p_values) <= 0).all()
    assert (p_values > 0).all()
    assert (p_values <= 1).all()


def test_the_tail_begins_where_fewer_than_ten_were_larger_and_goes_on_beyond_the_sample() -> None:
    sample = np.random.default_rng(3).exponential(size=2000)
    calibration, held_out = Calibration(HeldOut.fit(sample)), HeldOut.fit(sample)
    ordered = np.sort(sample)
    well_inside = ordered[: -TAIL_BELOW + 1]
    np.testing.assert_array_equal(calibration.p_values(well_inside), held_out.p_values(well_inside))
    far = calibration.p_values(ordered[-1] + np.array([0.0, 2.0, 5.0, 20.0]))
    assert (np.diff(far) < 0).all()
    assert far[-1] < 1e-7


def test_the_tail_is_right_where_the_sample_ends() -> None:
    """Exponential surprises: p should be exp(-s), over many samples on average."""
    rng = np.random.default_rng(4)
    ratios = [
        Calibration(HeldOut.fit(rng.exponential(size=1000))).p_values(np.array([9.0]))[0] / np.exp(-9.0)
        for _ in range(200)
    ]
    assert 0.5 < np.median(ratios) < 2.0


@pytest.mark.parametrize("shape", [0.0, 0.3])
def test_the_pareto_tail_finds_shape_and_scale(shape: float) -> None:
    sample = genpareto.rvs(shape, scale=2.0, size=4000, random_state=np.random.default_rng(5))
    fits = [ParetoTail.fit(np.sort(part), len(part)) for part in np.split(sample, 10)]
    shapes = [fit.shape for fit in fits if fit is not None]
    assert len(shapes) == 10
    assert np.mean(shapes) == pytest.approx(shape, abs=0.2)


def test_a_pareto_tails_survival_is_scipys() -> None:
    values = np.array([1.0, 1.5, 3.0, 10.0])
    for shape in (0.0, 0.4):
        tail = ParetoTail(threshold=1.0, scale=2.0, shape=shape, exceedance=0.05)
        np.testing.assert_allclose(
            [tail.survival(value) for value in values.tolist()], 0.05 * genpareto.sf(values - 1.0, shape, scale=2.0)
        )


def test_a_sample_without_a_tail_has_none() -> None:
    assert ParetoTail.fit(np.ones(500), 500) is None
    assert ParetoTail.fit(np.arange(15.0), 15) is None
    calibration = Calibration(HeldOut.fit(np.ones(500)))
    assert calibration.p_values(np.array([0.5, 1.0, 2.0])).tolist() == [1.0, 1.0, 1 / 501]


def test_a_hundred_held_out_rows_have_a_tail_of_half_of_them() -> None:
    tail = ParetoTail.fit(np.sort(np.random.default_rng(7).exponential(size=100)), 100)
    assert tail is not None
    assert tail.exceedance == pytest.approx(49 / 101)
    assert TAIL_VALUES > 50


@pytest.mark.parametrize(
    ("n", "status"),
    [
        (10_000, "calibrated"),
        (9_999, "coarse"),
        (1000, "coarse"),
        (999, "extrapolated"),
        (100, "extrapolated"),
        (99, "refused"),
    ],
)
def test_the_size_of_the_sample_says_how_far_a_rate_is_carried(n: int, status: str) -> None:
    assert HeldOut(n, np.empty(0), np.empty(0)).status(0.001) == status


@given(sample=SAMPLES)
def test_surprise_does_not_fall_with_the_score_and_goes_on_beyond_the_sample(sample: Array) -> None:
    surprise = Surprise.fit(sample)
    values = np.sort(np.concatenate([sample, np.linspace(-10, 1000, 50), [1e300]]))
    mapped = surprise(values)
    assert (np.diff(mapped) >= -1e-12).all()
    assert np.isfinite(mapped).all()
    assert (mapped >= 0).all()
    assert surprise(np.array([1000.0]))[0] > surprise(np.array([sample.max()]))[0]


def test_surprise_is_minus_log_of_the_share_at_least_as_large() -> None:
    sample = np.arange(1.0, 100.0)
    np.testing.assert_allclose(Surprise.fit(sample)(np.array([1.0, 25.0, 50.0])), -np.log([1.0, 0.76, 0.51]))


def test_surprise_goes_on_smoothly_where_its_tail_begins() -> None:
    surprise = Surprise.fit(np.random.default_rng(10).exponential(size=1000))
    assert surprise.tail is not None
    around = surprise.tail.threshold + np.array([-1e-9, 0.0, 1e-9])
    np.testing.assert_allclose(surprise(around), surprise(around)[1], atol=1e-7)


def test_the_surprise_of_exponential_scores_is_the_score() -> None:
    """Also beyond the sample, where a map without a tail would flatten and no rate could be extrapolated."""
    rng = np.random.default_rng(11)
    mapped = np.mean(
        [Surprise.fit(rng.exponential(size=500))(np.array([1.0, 3.0, 7.0, 10.0])) for _ in range(60)], axis=0
    )
    np.testing.assert_allclose(mapped, [1.0, 3.0, 7.0, 10.0], rtol=0.2)


def test_a_score_beyond_all_measure_has_a_finite_surprise() -> None:
    narrow = Surprise.fit(np.linspace(0.0, 1e-9, 50))
    assert np.isfinite(narrow(np.array([1e300]))).all()


def test_scores_without_a_tail_are_told_apart_all_the_same() -> None:
    surprise = Surprise.fit(np.ones(200))
    assert surprise.tail is None
    np.testing.assert_allclose(surprise(np.array([0.0, 1.0, 2.0])), [0.0, 0.0, np.log(2.0)])


def test_a_row_that_ties_with_held_out_rows_counts_them_though_they_are_kept_in_single_precision() -> None:
    tied = np.full(300, np.pi)
    assert HeldOut.fit(tied).p_values(tied[:1]).tolist() == [1.0]
    assert HeldOut.fit(np.array([1e30, 1.0])).p_values(np.array([1e30])).tolist() == [2 / 3]


def test_calibration_survives_its_document() -> None:
    sample = np.random.default_rng(8).exponential(size=3000)
    values = np.random.default_rng(9).exponential(size=500) * 2
    held_out, surprise = HeldOut.fit(sample), Surprise.fit(sample)
    np.testing.assert_array_equal(
        held_out_from_document(held_out_to_document(held_out)).p_values(values), held_out.p_values(values)
    )
    np.testing.assert_array_equal(surprise_from_document(surprise_to_document(surprise))(values), surprise(values))
    assert surprise_from_document(surprise_to_document(Surprise.fit(np.ones(200)))).tail is None
