"""Request values into a matrix: one row in is one row out, and what could not be used is counted by kind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import SCHEMA, numeric_schema
from tidegauge.errors import InvalidBaseline
from tidegauge.features import (
    ISSUES,
    UNSEEN,
    UNSEEN_NAME,
    FeatureSchema,
    FeatureSpec,
    coerce_columns,
    coerce_rows,
)

NAN = math.nan

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANYTHING = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner))


@pytest.mark.parametrize(
    ("row", "values", "issues"),
    [
        pytest.param([1.5, "red", True], [1.5, 2.0, 1.0], {}, id="complete"),
        pytest.param({"open": 0, "height": 2, "colour": "blue"}, [2.0, 0.0, 0.0], {}, id="named"),
        pytest.param([True, "red", 1], [1.0, 2.0, 1.0], {}, id="a-boolean-is-a-number"),
        pytest.param([np.float32(0.5), "red", np.bool_(False)], [0.5, 2.0, 0.0], {}, id="numpy-values"),
        pytest.param([None, None, None], [NAN, NAN, NAN], {"missing_value": 3}, id="null"),
        pytest.param(["170", "red", True], [NAN, 2.0, 1.0], {"wrong_type": 1}, id="a-number-as-text"),
        pytest.param([[1.0], "red", True], [NAN, 2.0, 1.0], {"wrong_type": 1}, id="a-list-as-value"),
        pytest.param([1.0, 2.5, True], [1.0, NAN, 1.0], {"wrong_type": 1}, id="a-fraction-as-category"),
        pytest.param([1.0, True, True], [1.0, NAN, 1.0], {"wrong_type": 1}, id="a-boolean-as-category"),
        pytest.param([1.0, "red", 2], [1.0, 2.0, NAN], {"wrong_type": 1}, id="two-as-boolean"),
        pytest.param([NAN, "red", True], [NAN, 2.0, 1.0], {"non_finite": 1}, id="nan"),
        pytest.param([-math.inf, "red", True], [NAN, 2.0, 1.0], {"non_finite": 1}, id="infinity"),
        pytest.param([10**400, "red", True], [NAN, 2.0, 1.0], {"non_finite": 1}, id="an-integer-beyond-double"),
        pytest.param([1.0, "pink", True], [1.0, UNSEEN, 1.0], {"unseen_category": 1}, id="unseen-category"),
        pytest.param([1.0, "red"], [NAN, NAN, NAN], {"wrong_width": 1}, id="too-short"),
        pytest.param([1.0, "red", True, 4], [NAN, NAN, NAN], {"wrong_width": 1}, id="too-long"),
        pytest.param("abc", [NAN, NAN, NAN], {"wrong_width": 1}, id="text-as-row"),
        pytest.param(7, [NAN, NAN, NAN], {"wrong_width": 1}, id="number-as-row"),
        pytest.param({"height": 2, "colour": "blue"}, [2.0, 0.0, NAN], {"missing_feature": 1}, id="missing-feature"),
        pytest.param(
            {"height": 2, "colour": "blue", "open": True, "weight": 9, 3: 4},
            [2.0, 0.0, 1.0],
            {"unknown_feature": 2},
            id="unknown-features",
        ),
    ],
)
def test_a_row_keeps_what_can_be_used_and_counts_the_rest(
    row: object, values: list[float], issues: dict[str, int]
) -> None:
    coerced = coerce_rows([row], SCHEMA)
    np.testing.assert_array_equal(coerced.matrix, [values])
    assert coerced.issues == issues


@pytest.mark.parametrize("rows", ["text", b"bytes", None, 5, {"height": [1]}, np.float64(3.0)])
def test_a_payload_that_is_no_list_of_rows_gives_no_rows_and_one_issue(rows: object) -> None:
    coerced = coerce_rows(rows, SCHEMA)
    assert coerced.matrix.shape == (0, 3)
    assert coerced.issues == {"not_rows": 1}


def test_no_rows_are_no_issue() -> None:
    coerced = coerce_rows([], numeric_schema(2))
    assert coerced.matrix.shape == (0, 2)
    assert coerced.issues == {}


@pytest.mark.parametrize(
    "rows",
    [[[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]], np.array([[1, 2], [3, 4]], dtype=np.int32), ((1, 2), (3, 4))],
    ids=["integers", "floats", "array", "tuples"],
)
def test_all_numbers_take_the_fast_path_to_the_same_matrix(rows: object) -> None:
    coerced = coerce_rows(rows, numeric_schema(2))
    np.testing.assert_array_equal(coerced.matrix, [[1.0, 2.0], [3.0, 4.0]])
    assert coerced.matrix.dtype == np.float64
    assert coerced.issues == {}


def test_one_bad_value_among_numbers_costs_that_value_alone() -> None:
    coerced = coerce_rows([[1.0, 2.0], [3.0, NAN], ["x", 6.0]], numeric_schema(2))
    np.testing.assert_array_equal(coerced.matrix, [[1.0, 2.0], [3.0, NAN], [NAN, 6.0]])
    assert coerced.issues == {"non_finite": 1, "wrong_type": 1}


def test_an_array_with_a_nan_still_gives_a_row_for_a_row() -> None:
    coerced = coerce_rows(np.array([[1.0, NAN], [3.0, 4.0]]), numeric_schema(2))
    np.testing.assert_array_equal(coerced.matrix, [[1.0, NAN], [3.0, 4.0]])
    assert coerced.issues == {"non_finite": 1}


def test_a_list_of_arrays_is_a_list_of_rows() -> None:
    coerced = coerce_rows([np.array([1.0, NAN]), [3.0, 4.0]], numeric_schema(2))
    np.testing.assert_array_equal(coerced.matrix, [[1.0, NAN], [3.0, 4.0]])


@given(rows=ANYTHING)
def test_coercion_never_raises_and_gives_a_row_for_a_row(rows: Any) -> None:
    for schema in (SCHEMA, numeric_schema(2)):
        coerced = coerce_rows(rows, schema)
        expected = len(rows) if isinstance(rows, list) else 0
        assert coerced.matrix.shape == (expected, len(schema))
        assert not np.isinf(coerced.matrix).any()
        assert set(coerced.issues) <= set(ISSUES)
        assert all(count > 0 for count in coerced.issues.values())


@given(columns=st.dictionaries(st.sampled_from(["height", "colour", "open", "weight"]), st.lists(ANYTHING, max_size=4)))
def test_columns_never_raise_and_are_as_long_as_the_longest(columns: dict[str, list[Any]]) -> None:
    coerced = coerce_columns(columns, SCHEMA)
    assert coerced.matrix.shape == (max((len(values) for values in columns.values()), default=0), 3)
    assert set(coerced.issues) <= set(ISSUES)


def test_columns_and_rows_give_the_same_matrix() -> None:
    columns: dict[str, list[Any]] = {"open": [True, False], "colour": ["red", "pink"], "height": [1.5, None]}
    rows = [[1.5, "red", True], [None, "pink", False]]
    np.testing.assert_array_equal(coerce_columns(columns, SCHEMA).matrix, coerce_rows(rows, SCHEMA).matrix)
    assert coerce_columns(columns, SCHEMA).issues == coerce_rows(rows, SCHEMA).issues


def test_short_absent_and_unknown_columns_are_counted() -> None:
    coerced = coerce_columns({"height": [1.0, 2.0], "colour": ["red"], "weight": [1, 2]}, SCHEMA)
    np.testing.assert_array_equal(coerced.matrix, [[1.0, 2.0, NAN], [2.0, NAN, NAN]])
    assert coerced.issues == {"unknown_feature": 1, "wrong_width": 1, "missing_feature": 1}


def test_decoded_rows_are_what_a_record_says_and_coerce_to_the_same_matrix() -> None:
    matrix = np.array([[1.5, 2.0, 1.0], [NAN, UNSEEN, NAN], [3.0, NAN, 0.0]])
    rows = SCHEMA.decode_rows(matrix)
    assert rows == [[1.5, "red", True], [None, UNSEEN_NAME, None], [3.0, None, False]]
    np.testing.assert_array_equal(coerce_rows(rows, SCHEMA).matrix, matrix)


def test_decoded_numbers_have_null_for_missing() -> None:
    assert numeric_schema(2).decode_rows(np.array([[1.0, NAN], [NAN, 4.0]])) == [[1.0, None], [None, 4.0]]


def test_the_schema_hash_changes_with_names_kinds_categories_and_order() -> None:
    a, b = FeatureSpec("a"), FeatureSpec("b")
    schemas = [
        (a, b),
        (b, a),
        (a, FeatureSpec("c")),
        (a, FeatureSpec("b", "boolean")),
        (a, FeatureSpec("b", "categorical", ("x", "y"))),
        (a, FeatureSpec("b", "categorical", ("y", "x"))),
    ]
    assert len({FeatureSchema(schema).schema_hash for schema in schemas}) == len(schemas)
    assert FeatureSchema((FeatureSpec("a"), FeatureSpec("b"))).schema_hash == FeatureSchema((a, b)).schema_hash


def test_a_schema_survives_its_document() -> None:
    assert FeatureSchema.from_document(SCHEMA.to_document()) == SCHEMA


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param({}, "a list of features", id="no-list"),
        pytest.param([], "at least one feature", id="empty"),
        pytest.param([{"name": "a", "kind": "numeric"}] * 2, "repeated: a", id="repeated"),
        pytest.param([{"name": "a", "kind": "vector"}], r"schema\[0\]", id="unknown-kind"),
        pytest.param([{"name": 1, "kind": "numeric"}], r"schema\[0\]", id="name-is-no-text"),
        pytest.param(["a"], r"schema\[0\]", id="not-a-feature"),
        pytest.param([{"name": "a", "kind": "categorical", "categories": "abc"}], "list of texts", id="text"),
        pytest.param([{"name": "a", "kind": "categorical", "categories": [["x"]]}], "list of texts", id="nested"),
        pytest.param([{"name": "a", "kind": "categorical", "categories": ["x", "x"]}], "must differ", id="twice"),
        pytest.param(
            [{"name": "a", "kind": "categorical", "categories": [UNSEEN_NAME]}], "none may be", id="reserved-name"
        ),
    ],
)
def test_a_schema_that_makes_no_sense_is_refused(document: object, message: str) -> None:
    with pytest.raises(InvalidBaseline, match=message):
        FeatureSchema.from_document(document)


@pytest.mark.parametrize("names", [1, 3], ids=["one feature", "several features"])
def test_named_rows_take_the_fast_path_to_the_same_matrix(names: int) -> None:
    schema = numeric_schema(names)
    rows = [[float(row * names + column) for column in range(names)] for row in range(4)]
    named = [dict(reversed(list(zip(schema.names, row, strict=True)))) for row in rows]
    coerced = coerce_rows(named, schema)
    np.testing.assert_array_equal(coerced.matrix, rows)
    assert coerced.issues == {}


@pytest.mark.parametrize(
    ("row", "issues"),
    [
        ({"f0": 1.0}, {"missing_feature": 1}),
        ({"f0": 1.0, "f2": 2.0}, {"unknown_feature": 1, "missing_feature": 1}),
        ({"f0": 1.0, "f1": 2.0, "f2": 3.0}, {"unknown_feature": 1}),
        ([1.0, 2.0], {}),
        (3.0, {"wrong_width": 1}),
        ("f0", {"wrong_width": 1}),
    ],
    ids=["missing", "other", "more", "a list", "a number", "a text"],
)
def test_one_odd_row_among_named_ones_costs_that_row_alone(row: object, issues: dict[str, int]) -> None:
    coerced = coerce_rows([{"f0": 1.0, "f1": 2.0}, row], numeric_schema(2))
    np.testing.assert_array_equal(coerced.matrix[0], [1.0, 2.0])
    assert coerced.issues == issues


@pytest.mark.parametrize("value", [10**400, -(10**400), math.inf, NAN, np.float32(np.inf)], ids=str)
@pytest.mark.parametrize("kind", ["numeric", "boolean"])
def test_numbers_beyond_the_range_are_not_finite(value: object, kind: Any) -> None:
    coerced = coerce_rows([[value], [1]], FeatureSchema((FeatureSpec("x", kind),)))
    np.testing.assert_array_equal(coerced.matrix, [[NAN], [1.0]])
    assert coerced.issues == {"non_finite": 1}


def test_large_numbers_whose_sum_is_beyond_the_range_are_numbers() -> None:
    coerced = coerce_rows([[1e308, 1e308], [10**300, -(10**300)]], numeric_schema(2))
    np.testing.assert_array_equal(coerced.matrix, [[1e308, 1e308], [1e300, -1e300]])
    assert coerced.issues == {}


def test_texts_that_look_like_numbers_are_none() -> None:
    for rows in ([["1", "2"]], np.array([["1", "2"]]), [b"12"], [[1.0, "2"]]):
        coerced = coerce_rows(rows, numeric_schema(2))
        assert set(coerced.issues) <= {"wrong_type", "wrong_width"}
        assert coerced.issues


def test_one_long_text_takes_no_memory_for_the_others() -> None:
    """As an array of texts these would be 40 GB."""
    rows = [["x" * 1_000_000, 1.0]] + [["y", 1.0]] * 10_000
    coerced = coerce_rows(rows, numeric_schema(2))
    assert coerced.issues == {"wrong_type": 10_001}


def test_whole_numbers_among_categories_may_come_as_floats() -> None:
    schema = FeatureSchema((FeatureSpec("size", "categorical", (1, 2)), FeatureSpec("colour", "categorical", ("red",))))
    rows = [[2.0, "red"], [1.0, 1.0], [1.5, None], [NAN, math.inf], [3.0, True]]
    coerced = coerce_rows(rows, schema)
    expected = [[1.0, 0.0], [0.0, UNSEEN], [NAN, NAN], [NAN, NAN], [UNSEEN, NAN]]
    np.testing.assert_array_equal(coerced.matrix, expected)
    assert coerced.issues == {"unseen_category": 2, "wrong_type": 2, "missing_value": 1, "non_finite": 2}


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<i8", "u1", ">i4"])
def test_columns_may_be_arrays(dtype: str) -> None:
    columns = {"f0": np.array([1, 2], dtype=dtype), "f1": [3, 4.5]}
    coerced = coerce_columns(columns, numeric_schema(2))
    np.testing.assert_array_equal(coerced.matrix, [[1.0, 3.0], [2.0, 4.5]])
    assert coerced.issues == {}


def test_columns_of_lists_are_no_numbers() -> None:
    coerced = coerce_columns({"f0": [[1.0], [2.0]], "f1": np.array([True, False])}, numeric_schema(2))
    np.testing.assert_array_equal(coerced.matrix, [[NAN, 1.0], [NAN, 0.0]])
    assert coerced.issues == {"wrong_type": 2}
