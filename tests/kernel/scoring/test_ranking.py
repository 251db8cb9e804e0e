"""Which features are named as the ones that drive a score."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tidegauge.scoring.scored import TOP_FEATURES, Ranking


def names(features: int) -> tuple[str, ...]:
    return tuple(f"f{position}" for position in range(features))


@given(arrays(np.int64, st.tuples(st.integers(0, 40), st.integers(1, 70)), elements=st.integers(0, 20)))
def test_the_largest_come_first_and_of_equals_the_first_feature(
    whole: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> None:
    contributions = whole / 7.0
    ranking = Ranking(names(contributions.shape[1]))
    features, values = ranking.of_rows(contributions)
    expected = np.argsort(-contributions, axis=1, kind="stable")[:, :TOP_FEATURES]
    np.testing.assert_array_equal(features, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(contributions, expected, axis=1))


def test_one_row_is_ranked_as_among_others() -> None:
    contributions = np.random.default_rng(1).exponential(size=(50, 30))
    ranking = Ranking(names(30))
    for row, features, values in zip(contributions, *ranking.of_rows(contributions), strict=True):
        assert ranking.of_row(row) == [
            (f"f{f}", value) for f, value in zip(features.tolist(), values.tolist(), strict=True)
        ]


def test_a_last_bit_does_not_decide_between_features() -> None:
    row = np.array([1.0, np.nextafter(1.0, 2.0), 0.0])
    assert [name for name, _ in Ranking(names(3)).of_row(row)] == ["f0", "f1", "f2"]


def test_contributions_of_any_number_are_ranked() -> None:
    assert Ranking(names(2)).of_row(np.array([1, 3], dtype=np.float32)) == [("f1", 3.0), ("f0", 1.0)]


def test_huge_and_tiny_contributions_keep_their_order() -> None:
    row = np.array([5e-324, 1e-300, 1.7e308, 0.0, 1e-310])
    assert [name for name, _ in Ranking(names(5)).of_row(row)] == ["f2", "f1", "f4"]
