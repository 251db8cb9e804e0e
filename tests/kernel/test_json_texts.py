"""JSON texts put together from parts are those that orjson would have written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.json_texts import (
    GAP,
    NULL,
    Form,
    Unread,
    extended,
    joined,
    name_text,
    numbers,
    text_of,
    truths,
    whole_numbers,
)


@given(st.lists(st.floats()))
def test_numbers_are_written_to_be_read_as_they_were_and_what_json_has_not_is_null(values: list[float]) -> None:
    read = [orjson.loads(text) for text in numbers(np.array(values, dtype=np.float64))]
    assert read == [value if math.isfinite(value) else None for value in values]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (np.array([3, -1]), [b"3", b"-1"]),
        (np.array([True, False]), [b"true", b"false"]),
        (np.array([[1.5, 2.0], [3.0, 4.0]])[:, 0], [b"1.5", b"3.0"]),
        (np.array([]), []),
    ],
    ids=["whole", "truths", "a column", "none"],
)
def test_numbers_of_every_type_are_written(values: Any, texts: list[bytes]) -> None:
    assert numbers(values) == texts


def test_whole_numbers_have_no_point() -> None:
    assert whole_numbers(np.array([300.0, 0.5, 1e22, np.nan])) == [b"300", b"0.5", b"1e+22", NULL]


def test_a_form_is_filled_row_by_row_in_the_order_of_its_text() -> None:
    form = Form({"share": GAP, "of": "100 % of %d rows", "inner": {"list": [GAP, 1]}, "last": GAP})
    texts = form.fill([b"0.5", NULL], [b'"a"', b"{}"], truths([True, False]))
    assert [orjson.loads(text) for text in texts] == [
        {"share": 0.5, "of": "100 % of %d rows", "inner": {"list": ["a", 1]}, "last": True},
        {"share": None, "of": "100 % of %d rows", "inner": {"list": [{}, 1]}, "last": False},
    ]


def test_columns_of_different_lengths_are_no_rows() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Form({"a": GAP, "b": GAP}).fill([b"1"], [])


def test_an_object_is_extended_at_its_end() -> None:
    assert orjson.loads(extended(b'{"a":1}', 'b"c', b"[2]")) == {"a": 1, 'b"c': [2]}
    assert orjson.loads(joined([b"1", name_text("ü"), NULL])) == [1, "ü", None]
    assert joined([]) == b"[]"


def test_an_unread_object_is_the_mapping_that_its_text_says() -> None:
    unread = Unread(b'{"a":1,"b":{"c":null}}')
    assert (unread["b"], list(unread), len(unread), "c" in unread) == ({"c": None}, ["a", "b"], 2, False)
    assert unread == {"a": 1, "b": {"c": None}}
    assert (text_of(unread), text_of({"a": 1})) == (unread.text, b'{"a":1}')
