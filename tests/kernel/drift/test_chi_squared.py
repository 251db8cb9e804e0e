"""The chi-squared tails against scipy's, central and not, far beyond where a p-value is decided."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, ncx2, poisson

from tidegauge.drift.chi_squared import (
    inverse_survival,
    log_survival,
    log_survivals,
    noncentral_survival,
    survival,
)

DEGREES = [1, 2, 3, 7, 16, 17, 34]


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize("x", [1e-12, 0.01, 1.0, 10.0, 50.0, 200.0, 1000.0])
def test_the_central_tail_is_scipys_to_the_last_digits(df: int, x: float) -> None:
    assert survival(x, df) == pytest.approx(chi2.sf(x, df), rel=1e-11)


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize("noncentrality", [0.0, 1e-9, 0.5, 10.0, 100.0, 3000.0])
def test_the_non_central_tail_is_scipys(df: int, noncentrality: float) -> None:
    spread = math.sqrt(2 * (df + 2 * noncentrality))
    for sigmas in (-2.0, 0.0, 2.0, 5.0):
        x = df + noncentrality + sigmas * spread
        if x > 0:
            expected = ncx2.sf(x, df, noncentrality) if noncentrality else chi2.sf(x, df)
            assert noncentral_survival(x, df, noncentrality) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize(
    ("noncentrality", "sigmas"), [(0.05, 25.0), *itertools.product([1.0, 16.0, 400.0], [15.0, 25.0])]
)
def test_the_far_tail_is_the_poisson_mixture_summed_without_a_limit(
    df: int, noncentrality: float, sigmas: float
) -> None:
    """scipy's own non-central tail gives up at about 1e-16."""
    x = df + noncentrality + sigmas * math.sqrt(2 * (df + 2 * noncentrality))
    j = np.arange(5000)
    expected = math.fsum(poisson.pmf(j, noncentrality / 2) * chi2.sf(x, df + 2 * j))
    assert 1e-200 < expected < 1e-7
    assert noncentral_survival(x, df, noncentrality) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("x", [5e-324, 0.0, -5.0])
def test_at_nothing_and_below_the_tail_is_all(x: float) -> None:
    assert noncentral_survival(x, 4, 3.0) == 1.0
    assert survival(x, 4) == 1.0


def test_an_impossible_value_has_no_tail_and_raises_nothing() -> None:
    assert noncentral_survival(1e6, 16, 10.0) == 0.0
    assert survival(1e300, 3) == 0.0


@given(df=st.integers(1, 40), noncentrality=st.floats(0.0, 500.0), x=st.floats(0.0, 2000.0), step=st.floats(0.0, 50.0))
def test_the_tail_falls_with_the_value_and_rises_with_the_non_centrality(
    df: int, noncentrality: float, x: float, step: float
) -> None:
    here = noncentral_survival(x, df, noncentrality)
    assert 0.0 <= here <= 1.0
    assert noncentral_survival(x + step, df, noncentrality) <= here * (1 + 1e-9)
    assert noncentral_survival(x, df, noncentrality + step) >= here * (1 - 1e-9)


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize("p", [0.5, 0.05, 1e-4, 1e-9, 1e-20])
def test_the_inverse_is_scipys(df: int, p: float) -> None:
    assert inverse_survival(p, df) == pytest.approx(chi2.isf(p, df), rel=1e-9)
    assert survival(inverse_survival(p, df), df) == pytest.approx(p, rel=1e-8)


@pytest.mark.parametrize("df", [1, 2, 17])
@pytest.mark.parametrize("noncentrality", [0.0, 1e-6, 1.0, 16.0, 400.0])
def test_the_tails_logarithm_goes_on_where_the_tail_underflows(df: int, noncentrality: float) -> None:
    """About e^-570 the sum hands over to the asymptotic form; the one goes on where the other ends."""
    xs = np.linspace(1000.0, 6000.0, 2000)
    logs = np.array([log_survival(x, df, noncentrality) for x in xs])
    assert logs[-1] < -1000
    steps = np.diff(logs)
    assert (steps < 0).all()
    assert np.abs(np.diff(steps)).max() < 0.35


def test_far_below_its_mean_a_value_is_certain() -> None:
    assert log_survival(500.0, 16, 4000.0) == 0.0


def test_a_tail_is_the_same_to_the_last_bit_whichever_others_are_asked_for_with_it() -> None:
    rng = np.random.default_rng(1)
    df, noncentrality = rng.integers(1, 60, 400), rng.choice([0.0, 0.3, 8.0, 90.0, 2000.0], 400) * rng.random(400)
    x = (df + noncentrality) * rng.choice([0.1, 0.9, 1.1, 3.0, 20.0], 400)
    alone = [log_survival(*one) for one in zip(x.tolist(), df.tolist(), noncentrality.tolist(), strict=True)]
    assert log_survivals(x, df, noncentrality).tolist() == alone
    assert log_survivals(x[::-3], df[::-3], noncentrality[::-3]).tolist() == alone[::-3]
