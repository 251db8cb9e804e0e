from __future__ import annotations

import json
from typing import Any

import pytest

from transformer import parse
from transformer.parse import Answer, Columns, Rows, Unreadable, read_answer, read_request

FEATURES = frozenset(("a", "b", "c"))


def tensor(name: str, shape: Any, data: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": "FP64", "data": data, **more}


V1: dict[str, tuple[Any, object]] = {
    "rows": ({"instances": [[1, 2, 3], [4, 5, 6]]}, Rows([[1, 2, 3], [4, 5, 6]])),
    "named rows": ({"instances": [{"a": 1, "b": 2}]}, Rows([{"a": 1, "b": 2}])),
    "other keys beside": ({"signature_name": "x", "instances": [[1]]}, Rows([[1]])),
    "inputs as rows": ({"inputs": [[1, 2, 3]]}, Rows([[1, 2, 3]])),
    "inputs as columns": ({"inputs": {"a": [1, 2], "b": [3, 4]}}, Columns({"a": [1, 2], "b": [3, 4]})),
    "no rows": ({"instances": []}, Rows([])),
    "rows that are none": ({"instances": [1, None, "x"]}, Rows([1, None, "x"])),
    "structured CloudEvent": ({"specversion": "1.0", "data": {"instances": [[1]]}}, Rows([[1]])),
    "CloudEvents in one another": (
        {"specversion": "1.0", "data": {"specversion": "1.0", "data": {"data": 1}}},
        Unreadable("no_instances"),
    ),
    "nothing known": ({"rows": [[1]]}, Unreadable("no_instances")),
    "null": ({"instances": None}, Unreadable("no_instances")),
    "text": ({"instances": "1,2,3"}, Unreadable("not_rows")),
    "number": ({"instances": 3}, Unreadable("not_rows")),
    "columns of no lists": ({"inputs": {"a": 1}}, Unreadable("not_rows")),
    "a list": ([[1, 2, 3]], Unreadable("not_an_object")),
    "a string": ("instances", Unreadable("not_an_object")),
}

V2: dict[str, tuple[Any, object]] = {
    "nested": ([tensor("x", [2, 3], [[1, 2, 3], [4, 5, 6]])], Rows([[1, 2, 3], [4, 5, 6]])),
    "flat": ([tensor("x", [2, 3], [1, 2, 3, 4, 5, 6])], Rows([[1, 2, 3], [4, 5, 6]])),
    "flat row": ([tensor("x", [1, 3], [1, 2, 3])], Rows([[1, 2, 3]])),
    "one value": ([tensor("x", [1, 1], [1])], Rows([[1]])),
    "tensor a feature": (
        [tensor("a", [2], [1, 2]), tensor("b", [2, 1], [3, 4]), tensor("c", [2, 1], [[5], [6]])],
        Columns({"a": [1, 2], "b": [3, 4], "c": [5, 6]}),
    ),
    "lone tensor named as a feature": ([tensor("b", [2, 1], [3, 4])], Columns({"b": [3, 4]})),
    "lone tensor of width one": ([tensor("x", [2, 1], [3, 4])], Rows([[3], [4]])),
    "no rows": ([tensor("x", [0, 3], [])], Rows([])),
    "too few values": ([tensor("x", [2, 3], [1, 2, 3])], Unreadable("wrong_shape")),
    "ragged": ([tensor("x", [2, 3], [[1, 2, 3], [4]])], Unreadable("wrong_shape")),
    "image": ([tensor("x", [1, 2, 2], [1, 2, 3, 4])], Unreadable("wrong_shape")),
    "vector of a value a feature": ([tensor("x", [3], [1, 2, 3])], Rows([[1, 2, 3]])),
    "vector of another length": ([tensor("x", [2], [1, 2])], Unreadable("wrong_shape")),
    "vector named as a feature": ([tensor("a", [3], [1, 2, 3])], Columns({"a": [1, 2, 3]})),
    "batch of one table": ([tensor("x", [1, 2, 3], [1, 2, 3, 4, 5, 6])], Unreadable("wrong_shape")),
    "texts": ([tensor("x", [1, 3], ["x", "y", "z"], parameters={"content_type": "str"})], Rows([["x", "y", "z"]])),
    "no width": ([tensor("x", [2, 0], [])], Unreadable("wrong_shape")),
    "shape of text": ([tensor("x", ["2", "3"], [1] * 6)], Unreadable("wrong_shape")),
    "negative shape": ([tensor("x", [-2, -3], [1] * 6)], Unreadable("wrong_shape")),
    "enormous shape": ([tensor("x", [10**30, 10**30], [1] * 6)], Unreadable("wrong_shape")),
    "true as size": ([tensor("x", [True, 3], [1, 2, 3])], Unreadable("wrong_shape")),
    "columns of different shapes": (
        [tensor("a", [2, 3], [1] * 6), tensor("b", [2], [1, 2])],
        Unreadable("wrong_shape"),
    ),
    "column shorter than its shape": ([tensor("a", [3], [1]), tensor("b", [3], [1, 2, 3])], Unreadable("wrong_shape")),
    "data of text": ([tensor("x", [1, 3], "1,2,3")], Unreadable("not_rows")),
    "no data": ([{"name": "x", "shape": [1, 3], "datatype": "FP32"}], Unreadable("not_rows")),
    "binary data": (
        [{"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}],
        Unreadable("binary_tensor"),
    ),
    "parameters and no data": (
        [{"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"content_type": "np"}}],
        Unreadable("not_rows"),
    ),
    "tensors of no objects": ([1, 2], Unreadable("not_rows")),
    "empty list": ([], Unreadable("not_rows")),
    "an object": ({"x": 1}, Unreadable("not_rows")),
}


@pytest.mark.parametrize(("document", "expected"), V1.values(), ids=V1)
def test_v1_body(document: Any, expected: object) -> None:
    assert read_request(json.dumps(document).encode(), protocol="v1", features=FEATURES) == expected


@pytest.mark.parametrize(("tensors", "expected"), V2.values(), ids=V2)
def test_v2_body(tensors: Any, expected: object) -> None:
    body = json.dumps({"id": "1", "inputs": tensors}).encode()
    assert read_request(body, protocol="v2", features=FEATURES) == expected


def test_v2_body_without_inputs() -> None:
    assert read_request(b'{"instances": [[1]]}', protocol="v2", features=FEATURES) == Unreadable("no_instances")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"instances": [[nan]]}',
        b"[" * 100_000,
        b"[" + b"9" * 10_000 + b"]",
        b'{"instances": [[1]]} trailing',
        b"\x00" * 9,
        b"NaN" + b" " * parse.LENIENT_BYTES,
    ],
    ids=["empty", "cut", "not UTF-8", "nan", "nested without end", "endless", "trailing", "zeros", "long and NaN"],
)
@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_what_is_not_json_is_said_not_to_be(body: bytes, protocol: str) -> None:
    assert read_request(body, protocol=protocol, features=FEATURES) == Unreadable("not_json")


def test_numbers_that_only_some_readers_take_are_read() -> None:
    body = b'{"instances": [[NaN, -Infinity, 1e400]]}'
    content = read_request(body, protocol="v1", features=FEATURES)
    assert isinstance(content, Rows)
    assert str(content.rows) == "[[nan, -inf, inf]]"


def test_bodies_that_are_not_read_say_why() -> None:
    body = b'{"instances": [[1, 2, 3]]}'

    def issue(body: bytes, **how: Any) -> object:
        return read_request(body, protocol="v1", features=FEATURES, **how)

    assert issue(body, encoded=True) == Unreadable("unsupported_encoding")
    assert issue(body, binary=b"3") == Rows([[1, 2, 3]]), "a header of v2 means nothing to v1"
    assert issue(body + b" " * parse.SCORED_BYTES) == Unreadable("body_too_large")


ANSWERS: dict[str, tuple[bytes, Answer]] = {
    "v1": (b'{"predictions": [1, 2]}', Answer([1, 2])),
    "v1 with a version": (b'{"predictions": [], "model_version": "3"}', Answer([], "3")),
    "v2, one output": (b'{"model_version": "3", "outputs": [{"name": "y", "data": [0.1]}]}', Answer([0.1], "3")),
    "v2, several outputs": (
        b'{"outputs": [{"name": "y", "data": [1]}, {"name": "z", "data": ["k"]}]}',
        Answer({"y": [1], "z": ["k"]}),
    ),
    "v2, binary output": (b'{"outputs": [{"name": "y", "parameters": {"binary_data_size": 4}}]}', Answer(None)),
    "version of no text": (b'{"predictions": [1], "model_version": 3}', Answer([1])),
    "no predictions": (b'{"result": 1}', Answer(issue="no_predictions")),
    "no outputs": (b'{"outputs": []}', Answer(issue="no_predictions")),
    "outputs of no objects": (b'{"outputs": [1]}', Answer(issue="no_predictions")),
    "a list": (b"[1]", Answer(issue="no_predictions")),
    "not JSON": (b"<html>", Answer(issue="answer_not_json")),
    "empty": (b"", Answer(issue="answer_not_json")),
    "too large": (b" " * (parse.ANSWER_BYTES + 1), Answer(issue="answer_too_large")),
}


@pytest.mark.parametrize(("body", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_answer(body: bytes, expected: Answer) -> None:
    assert read_answer(body) == expected


def test_answers_that_are_not_read_say_why() -> None:
    assert read_answer(None) == Answer(issue="answer_too_large")
    assert read_answer(b'{"predictions": [1]}', encoded=True) == Answer(issue="answer_encoded")


def test_every_issue_that_can_be_found_is_listed() -> None:
    found = {expected.issue for _, expected in [*V1.values(), *V2.values()] if isinstance(expected, Unreadable)}
    found |= {answer.issue for _, answer in ANSWERS.values() if answer.issue}
    assert found <= set(parse.ISSUES)
