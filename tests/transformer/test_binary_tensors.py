"""The v2 protocol's binary tensor extension as it is read for scoring."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.features import FeatureSchema, FeatureSpec, coerce_columns, coerce_rows
from transformer.parse import Answer, Columns, Readable, Rows, Unreadable, read_answer, read_request

FEATURES = frozenset(("a", "b", "c"))
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
NUMBERS = {
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
BINARY = Unreadable("binary_tensor")


def head(name: str, datatype: Any, shape: Any, size: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}


def body_of(*tensors: dict[str, Any], data: bytes = b"") -> tuple[bytes, bytes]:
    """The body, and the header that says how long its JSON is."""
    document = json.dumps({"inputs": tensors}).encode()
    return document + data, str(len(document)).encode()


def read(*tensors: dict[str, Any], data: bytes = b"") -> Readable | Unreadable:
    body, length = body_of(*tensors, data=data)
    return read_request(body, protocol="v2", features=FEATURES, binary=length)


def texts(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


@pytest.mark.parametrize(("datatype", "dtype"), NUMBERS.items(), ids=NUMBERS)
def test_a_tensor_of_rows(datatype: str, dtype: str) -> None:
    data = np.array(ROWS, dtype=dtype).tobytes()
    content = read(head("x", datatype, [2, 3], len(data)), data=data)
    assert isinstance(content, Rows)
    coerced = coerce_rows(content.rows, FeatureSchema(tuple(map(FeatureSpec, "abc"))))
    assert coerced.matrix.tolist() == ROWS
    assert coerced.issues == {}


def test_a_tensor_a_feature_of_every_kind_and_json_between() -> None:
    schema = FeatureSchema(
        (
            FeatureSpec("a"),
            FeatureSpec("b", "categorical", ("blue", "red")),
            FeatureSpec("c", "boolean"),
            FeatureSpec("d", "categorical", (1, 2)),
        )
    )
    a = np.array([0.5, np.nan], dtype="<f4").tobytes()
    b = texts(b"red", b"\xff")
    c = np.array([True, False]).tobytes()
    content = read(
        head("a", "FP32", [2], len(a)),
        {"name": "d", "shape": [2], "datatype": "INT64", "data": [2, 3]},
        head("b", "BYTES", [2, 1], len(b)),
        head("c", "BOOL", [2], len(c)),
        data=a + b + c,
    )
    assert isinstance(content, Columns)
    coerced = coerce_columns(content.columns, schema)
    np.testing.assert_array_equal(coerced.matrix, [[0.5, 1.0, 1.0, 1.0], [np.nan, -1.0, 0.0, -1.0]])
    assert coerced.issues == {"non_finite": 1, "unseen_category": 2}


def test_texts_of_no_and_of_any_length() -> None:
    data = texts(b"", b"blue", "é".encode() * 300)
    assert read(head("x", "BYTES", [1, 3], len(data)), data=data) == Rows([["", "blue", "é" * 300]])


def test_a_length_of_the_whole_body_means_that_all_is_json() -> None:
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP64", "data": ROWS}
    assert read(tensor) == Rows(ROWS)


def test_no_rows() -> None:
    content = read(head("x", "FP32", [0, 3], 0))
    assert isinstance(content, Rows) and len(content) == 0


MALFORMED: dict[str, tuple[dict[str, Any], bytes]] = {
    "too few bytes": (head("x", "FP32", [1, 3], 12), b"\0" * 8),
    "bytes left over": (head("x", "FP32", [1, 3], 12), b"\0" * 13),
    "size of another type": (head("x", "FP64", [1, 3], 12), b"\0" * 12),
    "size of another shape": (head("x", "FP32", [2, 3], 12), b"\0" * 12),
    "enormous shape": (head("x", "FP32", [10**30, 10**30], 12), b"\0" * 12),
    "shape of text": (head("x", "FP32", ["1", "3"], 12), b"\0" * 12),
    "no shape": (head("x", "FP32", None, 12), b"\0" * 12),
    "unknown type": (head("x", "BF16", [1, 3], 6), b"\0" * 6),
    "type of no text": (head("x", {}, [1, 3], 12), b"\0" * 12),
    "text longer than its bytes": (head("x", "BYTES", [1, 1], 8), struct.pack("<I", 9) + b"abcd"),
    "enormous text": (head("x", "BYTES", [1, 1], 8), struct.pack("<I", 2**32 - 1) + b"abcd"),
    "fewer texts than the shape says": (head("x", "BYTES", [1, 2], 5), texts(b"a")),
    "more texts than the shape says": (head("x", "BYTES", [1, 1], 10), texts(b"a", b"b")),
}


@pytest.mark.parametrize(("tensor", "data"), MALFORMED.values(), ids=MALFORMED)
def test_what_does_not_fit_is_said_not_to(tensor: dict[str, Any], data: bytes) -> None:
    assert read(tensor, data=data) == BINARY


@pytest.mark.parametrize("size", ["12", -1, 1.5, True, None], ids=repr)
def test_a_size_that_is_none(size: object) -> None:
    assert isinstance(read(head("x", "FP32", [1, 3], size), data=b"\0" * 12), Unreadable)


@pytest.mark.parametrize("length", [b"", b"-1", b"1e3", b"999999", b"9" * 30, b"\xff"])
def test_a_length_of_json_that_is_none(length: bytes) -> None:
    body, _ = body_of(head("x", "FP32", [1, 3], 12), data=b"\0" * 12)
    assert read_request(body, protocol="v2", features=FEATURES, binary=length) == BINARY


def test_a_length_in_the_middle_of_the_json() -> None:
    body, length = body_of(head("x", "FP32", [1, 3], 12), data=b"\0" * 12)
    wrong = str(int(length) - 1).encode()
    assert read_request(body, protocol="v2", features=FEATURES, binary=wrong) == Unreadable("not_json")


@given(
    datatype=st.sampled_from([*NUMBERS, "BOOL", "BYTES"]),
    shape=st.lists(st.integers(0, 4), max_size=3),
    size=st.integers(0, 40),
    data=st.binary(max_size=40),
)
def test_any_bytes_are_read_or_said_not_to_fit(datatype: str, shape: list[int], size: int, data: bytes) -> None:
    content = read(head("x", datatype, shape, size), data=data)
    assert isinstance(content, (Rows, Columns)) or content.issue in ("binary_tensor", "wrong_shape")


def answer_of(*outputs: dict[str, Any], data: bytes) -> Answer:
    document = json.dumps({"model_version": "3", "outputs": outputs}).encode()
    return read_answer(document + data, binary=str(len(document)).encode())


def test_predictions_may_be_binary() -> None:
    y = np.array([0.5, np.nan], dtype="<f2").tobytes()
    one = answer_of(head("y", "FP16", [2], len(y)), data=y)
    assert (str(one.predictions), one.version, one.issue) == ("[0.5, nan]", "3", None)
    label = texts(b"cat", b"dog")
    several = answer_of(
        head("label", "BYTES", [2], len(label)),
        {"name": "p", "shape": [2], "datatype": "FP64", "data": [0.5, 0.25]},
        data=label,
    )
    assert several == Answer({"label": ["cat", "dog"], "p": [0.5, 0.25]}, "3")


def test_binary_predictions_that_do_not_fit_are_said_not_to() -> None:
    assert answer_of(head("y", "FP16", [2], 4), data=b"\0" * 3) == Answer(version="3", issue="answer_binary_tensor")
    assert read_answer(b"{}", binary=b"3") == Answer(issue="answer_binary_tensor")
