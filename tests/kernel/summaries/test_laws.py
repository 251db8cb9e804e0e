"""The laws of every summary; a new one is covered by its line in the table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import SCHEMA, make_heartbeat, make_record, mixed_rows, numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.errors import IncompatibleSummaries, InvalidSummary
from tidegauge.records import Heartbeat, InferenceRecord
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries import SUMMARIES, Summary, container
from tidegauge.summaries.bin_counts import BinCounts
from tidegauge.summaries.cross_moments import CrossMoments
from tidegauge.summaries.gathered_records import GatheredRecords
from tidegauge.summaries.moments import Moments
from tidegauge.summaries.quantile_sketches import QuantileSketches
from tidegauge.summaries.served_account import ServedAccount
from tidegauge.summaries.window_rows import WindowRows
from tidegauge.summaries.window_summary import (
    FIRST_MAGIC,
    MAGIC,
    REQUIRED,
    EncodedSummary,
    WindowSummary,
    summarise,
)

PROFILE = BaselineProfile.fit(mixed_rows(1000), SCHEMA, predictions=np.linspace(0.0, 50.0, 1000))
EVERYTHING = Statistics(own=("tests.support.own:WholeNumbers",))

HEIGHTS = st.none() | st.floats(-1e12, 1e12) | st.floats(150.0, 190.0)
ROWS = st.tuples(HEIGHTS, st.sampled_from(["blue", "green", "red", "pink", None]), st.sampled_from([True, False, None]))
INCARNATIONS = st.sampled_from(["i-1", "i-2"])
WEIGHTS = st.sampled_from([1.0, 1.0, 10.0, 2.5])
PREDICTIONS = st.sampled_from([None, 5, [], [1.5], [3, 4], ["cat", "dog"], [[0.25, 0.75]], {"age": [41.5]}, [{"a": 1}]])
P_VALUES = st.floats(0.0, 1.0) | st.none()
RECORDS = st.builds(
    lambda rows, incarnation, status, issues, flags, weight, predictions, p_values: make_record(
        features=None if rows is None else [list(row) for row in rows],
        incarnation=incarnation,
        status=status,
        issues=issues,
        outlier=flags[: len(rows or [])],
        weight=weight,
        predictions=predictions,
        scores={"tail": p_values, "mahalanobis": p_values[:1]},
        p_values={"combined": p_values},
    ),
    st.none() | st.lists(ROWS, max_size=3),
    INCARNATIONS,
    st.sampled_from([200, 404, 503]),
    st.dictionaries(st.sampled_from(["wrong_type", "non_finite"]), st.integers(0, 5)),
    st.lists(st.booleans(), min_size=3, max_size=3),
    WEIGHTS,
    PREDICTIONS,
    st.lists(P_VALUES, max_size=3),
)
BEATS = st.builds(
    lambda second, incarnation, final: make_heartbeat(
        time_ms=1_700_000_000_000 + 1000 * second, seq=7 * second, incarnation=incarnation, final=final
    ),
    st.integers(0, 5),
    INCARNATIONS,
    st.booleans(),
)
BATCHES = st.tuples(st.lists(RECORDS, max_size=5), st.lists(BEATS, max_size=3))

Batch = tuple[list[InferenceRecord], list[Heartbeat]]


def of(kind: type[Summary], *batches: Batch) -> Any:
    records = [record for batch in batches for record in batch[0]]
    beats = [beat for batch in batches for beat in batch[1]]
    return kind.of(WindowRows.of(GatheredRecords.of(records, PROFILE), beats, PROFILE, EVERYTHING))


def same(left: Any, right: Any) -> bool:
    """Exact, but for sums of floating-point numbers, and for sketches, which must give the same quantiles."""
    if isinstance(left, Moments):
        return _same_moments(left, right)
    if isinstance(left, CrossMoments):
        return _same_cross_moments(left, right)
    if isinstance(left, QuantileSketches):
        ranks = np.linspace(0, 1, 21)
        return np.array_equal(left.quantiles(ranks), right.quantiles(ranks), equal_nan=True)
    if isinstance(left, Mapping):
        return set(left) == set(right) and all(same(left[name], right[name]) for name in left)
    if dataclasses.is_dataclass(left) and not isinstance(left, type):
        fields = dataclasses.fields(left)
        return type(left) is type(right) and all(same(getattr(left, f.name), getattr(right, f.name)) for f in fields)
    return _same_plain(left, right)


def _same_plain(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right))
    if isinstance(left, tuple) and any(map(dataclasses.is_dataclass, left)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _same_moments(left: Moments, right: Moments) -> bool:
    size = np.maximum(np.abs(left.low), np.abs(left.high))
    size = np.where(np.isfinite(size), size, 0.0)
    square = np.maximum(left.m2, 1e-6 * size**2)
    exact = ("count", "missing", "infinite", "low", "high")
    return (
        all(np.array_equal(getattr(left, name), getattr(right, name)) for name in exact)
        and np.allclose(left.weight, right.weight, rtol=1e-12, atol=0)
        and bool((np.abs(left.mean - right.mean) <= 1e-9 * size).all())
        and bool((np.abs(left.m2 - right.m2) <= 1e-9 * square * np.maximum(left.weight, 1)).all())
    )


def _same_cross_moments(left: CrossMoments, right: CrossMoments) -> bool:
    """To 1e-9 of the size of the whole columns: rows that a pair leaves out may hold their largest values."""
    size = (np.abs(left.origin + np.diagonal(left.shift)) + np.sqrt(np.diagonal(left.square)))[:, None]
    return (
        np.array_equal(left.count, right.count)
        and np.allclose(left.weight, right.weight, rtol=1e-12, atol=0)
        and bool((np.abs(_means(left) - _means(right)) <= 1e-9 * size).all())
        and bool((np.abs(left.square - right.square) <= 1e-9 * size**2).all())
        and bool((np.abs(left.comoment - right.comoment) <= 1e-9 * size * size.T).all())
    )


def _means(cross: CrossMoments) -> Any:
    return np.where(cross.count > 0, cross.origin[:, None] + cross.shift, 0.0)


@given(a=BATCHES, b=BATCHES)
def test_the_summary_of_the_whole_is_the_merge_of_the_parts(a: Batch, b: Batch) -> None:
    for kind in SUMMARIES.values():
        assert same(of(kind, a, b), of(kind, a).merge(of(kind, b)))


@given(a=BATCHES, b=BATCHES)
def test_the_order_of_merging_two_does_not_matter(a: Batch, b: Batch) -> None:
    for kind in SUMMARIES.values():
        assert same(of(kind, a).merge(of(kind, b)), of(kind, b).merge(of(kind, a)))


@given(a=BATCHES, b=BATCHES, c=BATCHES)
def test_the_grouping_of_three_does_not_matter(a: Batch, b: Batch, c: Batch) -> None:
    for kind in SUMMARIES.values():
        x, y, z = (of(kind, batch) for batch in (a, b, c))
        assert same(x.merge(y).merge(z), x.merge(y.merge(z)))


@given(a=BATCHES)
def test_an_empty_summary_changes_nothing(a: Batch) -> None:
    for kind in SUMMARIES.values():
        summary, empty = of(kind, a), of(kind)
        assert same(summary.merge(empty), summary)
        assert same(empty.merge(summary), summary)


@given(a=BATCHES, b=BATCHES)
def test_merging_changes_neither_side(a: Batch, b: Batch) -> None:
    for kind in SUMMARIES.values():
        left, right = of(kind, a), of(kind, b)
        before = container.dump([left.to_state(), right.to_state()])
        left.merge(right)
        assert container.dump([left.to_state(), right.to_state()]) == before


@given(a=BATCHES)
def test_a_summary_survives_its_state(a: Batch) -> None:
    for kind in SUMMARIES.values():
        summary = of(kind, a)
        state = container.dump(summary.to_state())
        again = kind.from_state(container.load(state))
        assert same(again, summary)
        assert container.dump(again.to_state()) == state


@given(a=BATCHES, b=BATCHES)
def test_a_window_summary_obeys_the_laws_of_its_parts(a: Batch, b: Batch) -> None:
    left, right = summarise(*a, PROFILE), summarise(*b, PROFILE)
    merged = WindowSummary.decode(left.encode()).merge(WindowSummary.decode(right.encode()))
    whole = summarise(a[0] + b[0], a[1] + b[1], PROFILE)
    assert same(merged, whole)
    assert WindowSummary.decode(whole.encode()).encode() == whole.encode()


def test_every_summary_is_a_field_of_the_window_summary() -> None:
    assert [field.name for field in dataclasses.fields(WindowSummary)] == list(SUMMARIES)


def test_summaries_of_other_bins_have_no_merge() -> None:
    with pytest.raises(IncompatibleSummaries, match=r"bins differs \(\(0, 3\) != \(0, 4\)\)"):
        BinCounts(np.zeros(3, int), (0, 3)).merge(BinCounts(np.zeros(4, int), (0, 4)))


def test_summaries_of_other_features_have_no_merge() -> None:
    other_profile = BaselineProfile.fit(mixed_rows(300)[:, :1], numeric_schema(1))
    other = WindowRows.of(GatheredRecords(other_profile), [], other_profile)
    for kind in (Moments, BinCounts, QuantileSketches, CrossMoments):
        with pytest.raises(IncompatibleSummaries):
            of(kind).merge(kind.of(other))


def test_what_one_side_did_not_measure_the_whole_has_not() -> None:
    with_all = summarise([make_record()], [], PROFILE)
    without = dataclasses.replace(with_all, quantiles=None)
    for merged in (with_all.merge(without), without.merge(with_all)):
        assert merged.quantiles is None
        assert merged.cross is not None
        assert merged.moments.count.tolist() == [2, 2, 2]
        assert same(WindowSummary.decode(merged.encode()), merged)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"tgs3{}", id="version-to-come"),
        pytest.param(FIRST_MAGIC, id="nothing-after-the-magic"),
        pytest.param(FIRST_MAGIC + b"{", id="cut-off"),
        pytest.param(FIRST_MAGIC + b"[]", id="list"),
        pytest.param(FIRST_MAGIC + b"{}", id="no-parts"),
        pytest.param(FIRST_MAGIC + b'{"requests":[],"moments":{},"bins":{},"account":{}}', id="empty-parts"),
        pytest.param(MAGIC, id="no-head"),
        pytest.param(MAGIC + container.dump([]), id="a-list-in-the-head"),
        pytest.param(MAGIC + container.dump({}), id="no-parts-in-the-head"),
        pytest.param(summarise([], [], PROFILE).encode()[:-1], id="cut-off-in-the-numbers"),
        pytest.param(summarise([], [], PROFILE).encode() + b"0", id="something-after-the-numbers"),
    ],
)
def test_bytes_that_are_no_summary_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidSummary):
        WindowSummary.decode(data)


@pytest.mark.parametrize("part", SUMMARIES)
@pytest.mark.parametrize("state", [None, 5, [], [1], "text", {"surplus": 1}], ids=repr)
def test_a_part_of_another_shape_is_refused(part: str, state: object) -> None:
    parts = {name: getattr(summarise([], [], PROFILE, EVERYTHING), name).to_state() for name in SUMMARIES} | {
        part: state
    }
    data = MAGIC + container.dump(parts)
    if state is None and part not in REQUIRED:
        assert getattr(WindowSummary.decode(data), part) is None
        return
    with pytest.raises(InvalidSummary):
        WindowSummary.decode(data)


def test_a_summary_is_read_no_further_than_it_is_asked_for() -> None:
    parts = {name: getattr(summarise([], [], PROFILE), name).to_state() for name in REQUIRED} | {"moments": "text"}
    encoded = EncodedSummary(MAGIC + container.dump(parts))
    assert encoded.account == ServedAccount()
    with pytest.raises(InvalidSummary):
        _ = encoded.decoded
    with pytest.raises(InvalidSummary):
        _ = EncodedSummary(b"").account
