"""Counts by weight: exact and independent of the order of merging, also when the weights are too many."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.summaries.strata import COUNTS, Strata, by_weight

WEIGHTS = st.lists(st.floats(1.0, 1000.0), max_size=12)


def counted(weights: list[float]) -> Strata[Counter[str]]:
    return by_weight(np.array(weights), lambda chosen: Counter(rows=int(chosen.sum())))


@given(WEIGHTS, WEIGHTS, WEIGHTS)
def test_any_order_and_grouping_gives_the_same_even_rounded(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = counted(a), counted(b), counted(c)
    whole = counted(a + b + c)
    for merged in (x.merge(y).merge(z), x.merge(y.merge(z)), z.merge(x).merge(y), y.merge(z.merge(x))):
        assert merged == whole


def test_few_weights_are_kept_as_they_are() -> None:
    weights = [1.0 + at / 7 for at in range(16)]
    assert set(counted(weights).parts) == set(weights)


def test_too_many_weights_are_rounded_by_a_fifth_at_most() -> None:
    weights = [1.0 + at / 7 for at in range(17)]
    strata = counted(weights)
    assert strata.coarse
    assert sum(part["rows"] for part in strata.parts.values()) == 17
    assert all(COUNTS.rounded(weight) == pytest.approx(weight, rel=0.2) for weight in weights)
    assert all(COUNTS.rounded(weight) == weight for weight in strata.parts)


def test_rounding_stays_once_begun() -> None:
    coarse = counted([1.0 + at / 7 for at in range(17)])
    assert coarse.merge(counted([1.3])).parts.keys() == coarse.parts.keys()
    assert Strata[Counter[str]]().merge(coarse) == coarse
    assert coarse.merge(Strata()) == coarse
