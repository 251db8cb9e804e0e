"""Who is in a sample: decided by the id alone, evenly, and the same everywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tidegauge.lots import is_drawn

SHARES = st.floats(0.001, 1.0)


def test_as_many_are_drawn_as_the_probability_says() -> None:
    drawn = sum(is_drawn(f"request-{at}", 0.1) for at in range(20_000))
    low, high = binom.interval(0.9999, 20_000, 0.1)
    assert low <= drawn <= high


@given(st.text(), SHARES, SHARES)
def test_who_is_drawn_is_drawn_again_and_with_every_larger_probability(identity: str, one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    assert is_drawn(identity, smaller) == is_drawn(identity, smaller)
    assert is_drawn(identity, smaller) <= is_drawn(identity, larger)


@given(st.text())
def test_with_probability_1_everybody_is_drawn(identity: str) -> None:
    assert is_drawn(identity, 1.0)
