"""Several surprises as one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.scoring.combination import COMBINATIONS, Combination

# Fourth powers of what is smaller underflow; the smallest surprise but 0 is that of one row in many, some 1e-7.
SURPRISES = st.lists(st.just(0.0) | st.floats(1e-70, 1e30), min_size=1, max_size=4)


@pytest.mark.parametrize("combination", COMBINATIONS.values(), ids=COMBINATIONS)
@given(surprises=SURPRISES)
def test_a_row_has_the_same_alone_and_among_others(combination: Combination, surprises: list[float]) -> None:
    together = combination.of_rows([np.array([surprise, 1.0, surprise]) for surprise in surprises])
    assert together[0] == together[2] == combination.of_row(surprises)


@pytest.mark.parametrize("combination", COMBINATIONS.values(), ids=COMBINATIONS)
@given(surprises=SURPRISES)
def test_it_is_no_smaller_than_the_largest_and_finite(combination: Combination, surprises: list[float]) -> None:
    combined = combination.of_row(surprises)
    assert combined >= max(surprises) * (1 - 1e-15)
    assert math.isfinite(combined)


@given(surprise=st.floats(0.0, 1e30))
def test_of_one_detector_it_is_its_own(surprise: float) -> None:
    for combination in COMBINATIONS.values():
        assert combination.of_row([surprise]) == combination.of_rows([np.array([surprise])])[0] == surprise


def test_the_norm_gains_from_agreement_and_the_maximum_does_not() -> None:
    assert COMBINATIONS["fourth_power_norm"].of_row([3.0, 3.0]) == pytest.approx(3.0 * 2**0.25)
    assert COMBINATIONS["maximum"].of_row([3.0, 4.0]) == 4.0
