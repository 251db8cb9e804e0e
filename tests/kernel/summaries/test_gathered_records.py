"""Records gathered one by one give what all of them together say."""

from __future__ import annotations

import array
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import make_record
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec, coerce_rows
from tidegauge.records import decode, encode_record
from tidegauge.summaries.gathered_records import FeatureRows, GatheredRecords

NUMERIC = FeatureSchema((FeatureSpec("a"), FeatureSpec("b")))
MIXED = FeatureSchema((FeatureSpec("a"), FeatureSpec("b", "categorical", ("x", "y"))))
PROFILE = BaselineProfile.fit(np.random.default_rng(3).normal(size=(200, 2)), NUMERIC)

VALUES = st.one_of(
    st.floats(),
    st.integers(),
    st.booleans(),
    st.none(),
    st.sampled_from(["x", "y", "1", "", 10**400, -(10**400), [1], {"a": 1}]),
)
ROWS = st.one_of(
    st.lists(VALUES, min_size=2, max_size=2),
    st.lists(VALUES, max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES),
    st.sampled_from(["ab", 7, None]),
)


@given(st.lists(ROWS, max_size=6), st.sampled_from([NUMERIC, MIXED]))
def test_rows_come_out_as_coercion_makes_them(rows: list[Any], schema: FeatureSchema) -> None:
    gathered = FeatureRows(schema)
    for row in rows:
        gathered.add([row])
    np.testing.assert_array_equal(gathered.matrix(), coerce_rows(rows, schema).matrix.reshape(-1, len(schema)))


def test_a_matrix_that_was_taken_stays_as_it_is_when_more_rows_come() -> None:
    gathered = FeatureRows(NUMERIC)
    gathered.add([[1.0, 2.0]])
    before = gathered.matrix()
    gathered.add([[3.0, 4.0]])
    assert before.tolist() == [[1.0, 2.0]]
    assert gathered.matrix().tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_numbers_are_copied_whole_or_not_at_all() -> None:
    """What the quick way rests on: a list that cannot be taken leaves nothing behind."""
    numbers = array.array("d", [1.0])
    with pytest.raises(TypeError):
        numbers.fromlist([2.0, None])
    with pytest.raises(OverflowError):
        numbers.fromlist([2.0, 10**400])
    assert numbers.tolist() == [1.0]


def test_a_decoded_record_says_the_same_as_the_one_that_was_written() -> None:
    record = make_record(features=[[1.5, None], [math.inf, 2]], rows=2, p_values={"combined": [0.5, 0.25]})
    decoded = decode(encode_record(record))
    assert isinstance(decoded, type(record))
    read = GatheredRecords.of([decoded], PROFILE)
    np.testing.assert_array_equal(read.matrix(), [[1.5, np.nan], [np.nan, 2.0]])
    (combined,) = read.combined(None)
    assert combined.matrix.ravel().tolist() == [0.5, 0.25]


def test_issues_are_added_up_and_numbers_kept_by_worker() -> None:
    records = [
        make_record(seq=1, issues={"missing_value": 2}),
        make_record(seq=2, issues={"missing_value": 1, "non_finite": 1}),
        make_record(seq=1, incarnation="i-2"),
    ]
    gathered = GatheredRecords.of(records, PROFILE)
    assert gathered.issues == {"missing_value": 3, "non_finite": 1}
    assert list(gathered.seqs.values()) == [[1, 2], [1]]
    assert list(gathered.times_ms()) == [record.time_ms for record in records]


def test_records_of_weight_one_have_no_weights() -> None:
    gathered = GatheredRecords.of([make_record(), make_record(seq=2)], PROFILE)
    assert gathered.weights() is None
    assert gathered.row_weights(None) is None


@pytest.mark.parametrize("field", ["scores", "p_values"])
def test_what_is_no_list_of_numbers_is_not_taken(field: str) -> None:
    name = {"scores": "tail", "p_values": "combined"}[field]
    record = decode(orjson.dumps(orjson.loads(encode_record(make_record())) | {field: {name: 7}}))
    with pytest.raises(TypeError):
        gathered = GatheredRecords.of([record], PROFILE)  # type: ignore[list-item]
        gathered.scores(None)
        gathered.combined(None)
