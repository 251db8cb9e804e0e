"""Numbers are counted once, whatever the order, the grouping and the repetitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.summaries import container, seen_numbers
from tidegauge.summaries.seen_numbers import SeenNumbers

NUMBERS = st.lists(st.integers(0, 3000) | st.integers(-(2**63), 2**63 - 1), max_size=60)


@given(NUMBERS, NUMBERS)
def test_the_count_is_that_of_a_set(a: list[int], b: list[int]) -> None:
    merged = SeenNumbers.of(a).merge(SeenNumbers.of(b))
    assert merged.count == len({*a, *b})
    assert merged == SeenNumbers.of(a + b) == SeenNumbers.of(b).merge(SeenNumbers.of(a))
    assert merged.merge(merged) == merged


@given(NUMBERS, NUMBERS)
def test_one_covers_another_as_a_set_contains_another(a: list[int], b: list[int]) -> None:
    assert SeenNumbers.of(a).covers(SeenNumbers.of(b)) == (set(b) <= set(a))


@given(NUMBERS)
def test_they_survive_their_state(numbers: list[int]) -> None:
    seen = SeenNumbers.of(numbers)
    assert SeenNumbers.from_state(container.load(container.dump(seen.to_state()))) == seen


@given(NUMBERS, NUMBERS, NUMBERS)
def test_too_many_blocks_are_cut_the_same_in_any_grouping(a: list[int], b: list[int], c: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_numbers, "MAXIMUM_BLOCKS", 5)
        x, y, z = (SeenNumbers.of(numbers) for numbers in (a, b, c))
        assert x.merge(y).merge(z) == x.merge(y.merge(z)) == SeenNumbers.of(a + b + c)
        assert len(x.blocks) <= 5
        assert x.overflowed == (len({number >> 9 for number in a}) > 5)
        if x.overflowed:
            assert not y.covers(x)


def test_consecutive_numbers_take_a_bit_each() -> None:
    assert len(container.dump(SeenNumbers.of(range(1, 100_001)).to_state())) < 100_000 / 8 + 1000


def test_a_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(OverflowError):
        SeenNumbers.of([2**64])
