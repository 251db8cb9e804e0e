"""Values kept whole while they are few, and sketches of them beyond, tell the same quantiles."""

from __future__ import annotations

from collections import Counter
from functools import reduce

import numpy as np
import pytest
from datasketches import kll_floats_sketch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidegauge.summaries import container, sketches
from tidegauge.summaries.quantile_sketches import QuantileSketches
from tidegauge.summaries.sketches import MOST_KEPT, RANK_ERROR, K, Kept, Sketches, Values, values_of

Singles = NDArray[np.float32]

RANKS = np.arange(65) / 64
"""Exact: whether a rounded rank is reached is up to the last bit."""


def tied(seed: int, rows: int, missing: int) -> Singles:
    """Two columns of small whole numbers, the second without some of its values."""
    ordered = np.random.default_rng(seed).integers(-9, 9, size=(2, rows)).astype(np.float32)
    ordered[1, : min(missing, rows)] = np.nan
    return np.sort(ordered, axis=1)


COLUMNS = st.builds(tied, st.integers(0, 99), st.integers(1, K), st.integers(0, K))


def columns(rows: int, seed: int = 0) -> Singles:
    return np.sort(np.random.default_rng(seed).normal(size=(2, rows)).astype(np.float32), axis=1)


def added(parts: list[Values]) -> Values:
    return reduce(lambda left, right: left + right, parts)


def again(values: Values) -> Values:
    """As it is after a journey."""
    return sketches.from_state(container.load(container.dump(values.to_state())))


@given(COLUMNS)
def test_kept_values_have_the_quantiles_of_a_sketch_that_has_them_all(ordered: Singles) -> None:
    kept, sketched = Kept(ordered), Sketches.of(ordered)
    np.testing.assert_array_equal(kept.quantiles(RANKS), sketched.quantiles(RANKS))
    assert kept.rank_error().tolist() == sketched.rank_error().tolist() == [0.0] * len(ordered)
    for at in (0, 1):
        assert Counter(value for value, _ in kept.counted(at)) == dict(sketched.counted(at))


@given(COLUMNS, st.integers(0, 5), st.integers(0, 99))
def test_kept_values_are_the_same_in_whatever_order_they_are_merged(ordered: Singles, cuts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = np.array_split(rng.permutation(ordered, axis=1), cuts + 1, axis=1)
    parts = [values_of(np.sort(part, axis=1)) for part in shuffled if part.shape[1]]
    merged = added([parts[at] for at in rng.permutation(len(parts))])
    assert isinstance(merged, Kept)
    np.testing.assert_array_equal(merged.ordered, ordered)


@pytest.mark.parametrize("through", [lambda values: values, again], ids=["made", "read"])
@pytest.mark.parametrize("rows", [(MOST_KEPT, 1), (1, MOST_KEPT), (2000, 300), (300, 2000), (300, 300, 300)])
def test_beyond_so_many_rows_there_are_sketches_of_all(rows: tuple[int, ...], through: object) -> None:
    parts = [columns(count, seed) for seed, count in enumerate(rows)]
    merged = added([through(values_of(part)) for part in parts])  # type: ignore[operator]
    assert isinstance(merged, Sketches)
    assert merged.rank_error().tolist() == [RANK_ERROR] * 2
    whole = np.sort(np.concatenate(parts, axis=1), axis=1)
    for column, found in zip(whole, merged.quantiles(RANKS), strict=True):
        ranks = np.searchsorted(column, found, side="right") / len(column)
        assert np.abs(ranks - RANKS)[1:].max() < 2 * RANK_ERROR
    assert all(sum(times for _, times in merged.counted(at)) == sum(rows) for at in (0, 1))


@pytest.mark.parametrize("rows", [MOST_KEPT, MOST_KEPT + 1])
def test_columns_are_arranged_and_a_new_one_is_empty(rows: int) -> None:
    values = values_of(columns(rows))
    arranged = values.arranged(np.array([1, -1, 0]))
    found, before = arranged.quantiles(RANKS), values.quantiles(RANKS)
    np.testing.assert_array_equal(found[[2, 0]], before)
    assert np.isnan(found[1]).all()
    assert arranged.width == 3
    assert arranged.counted(1) == []


def test_kept_values_take_no_more_bytes_than_sketches() -> None:
    kept, sketched = values_of(columns(MOST_KEPT)), Sketches.of(columns(1_000_000))
    assert len(container.dump(kept.to_state())) < len(container.dump(sketched.to_state()))


@pytest.mark.parametrize(
    "state",
    [np.zeros((2, 3)), np.zeros(3, np.float32), np.zeros((2, 0), np.float32), [[1], b"x"], [[1, 2]]],
    ids=["double", "flat", "none", "no-sketch", "no-bytes"],
)
def test_what_is_no_state_is_refused(state: object) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError, IndexError)):
        sketches.from_state(state)


def test_values_of_other_columns_are_refused() -> None:
    centre, scale = np.zeros(3), np.ones(3)
    state = QuantileSketches.of_columns(np.ones((4, 3)), None, centre=centre, scale=scale).to_state()
    with pytest.raises(ValueError, match="other columns than 2"):
        QuantileSketches.from_state({**state, "centre": centre[:2], "scale": scale[:2]})


def test_a_sketch_stays_one() -> None:
    """Also with few values, as summaries of before have it."""
    few = Sketches.of(columns(10))
    assert isinstance(few + values_of(columns(10)), Sketches)
    assert isinstance(kll_floats_sketch.deserialize(again(few).columns[0]), kll_floats_sketch)  # type: ignore[union-attr]


@pytest.mark.parametrize(("rows", "parts"), [(600, 2), (900, 3), (900, 4), (1200, 4)])
def test_weighted_rows_count_in_merged_sketches_as_much_as_alone(rows: int, parts: int) -> None:
    """DataSketches gives wrong weights with the values of some merged sketches, of these but the second."""
    rng = np.random.default_rng(1)
    weights = rng.choice([1.0, 10.0], p=[0.9, 0.1], size=rows * parts)
    matrix = (rng.normal(size=rows * parts) + (weights == 10.0))[:, None]
    spans = [slice(at, at + rows) for at in range(0, rows * parts, rows)]
    summaries = [
        QuantileSketches.of_columns(matrix[span], weights[span], centre=np.zeros(1), scale=np.ones(1)) for span in spans
    ]
    (found,) = reduce(QuantileSketches.merge, summaries).quantiles(RANKS)
    shares = [float(weights[matrix[:, 0] <= value].sum() / weights.sum()) for value in found]
    assert np.abs(np.array(shares) - RANKS)[1:].max() < 2 * RANK_ERROR
