"""
Bodies of requests and answers turned into rows and predictions. Nothing here raises, and nothing here is needed to
serve: what cannot be read is forwarded all the same, and the record says why, by one of ISSUES.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import orjson

ISSUES: Final = (
    "body_too_large",  # longer than what is read for scoring, so that one request does not hold up the others
    "unsupported_encoding",  # the request's body is compressed
    "binary_tensor",  # the v2 binary tensor extension
    "not_json",
    "not_an_object",
    "no_instances",  # v1: neither "instances" nor "inputs"; v2: no "inputs"
    "not_rows",  # instances or inputs of the wrong type
    "wrong_shape",  # a tensor that is not rows x features, or whose data do not fill its shape
    "scoring_failed",  # a fault of ours
    "answer_too_large",  # the answer is longer than what is read for the record
    "answer_cut_short",  # the predictor or the client ended it before it was whole
    "answer_encoded",  # the answer's body is compressed
    "answer_not_json",
    "no_predictions",  # the answer has neither "predictions" nor "outputs"
)
"""Every kind of issue counted here, beside features.ISSUES, for metric labels."""

SCORED_BYTES: Final = 4 << 20
"""
Longer request bodies are not scored: reading and scoring happen in the event loop, and 4 MiB of numbers (some 400,000)
hold it up for some 30 ms.
"""

ANSWER_BYTES: Final = 1 << 20
"""Longer answers are not read for predictions: the record would exceed what a Kafka broker takes by default."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Each a list of values in schema order or a mapping from feature name to value; not yet checked."""

    rows: Sequence[object]


@dataclass(frozen=True, slots=True)
class Columns:
    """Values by feature name; not yet checked."""

    columns: Mapping[str, Sequence[object]]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """issue: one of ISSUES."""

    issue: str


Readable = Rows | Columns


def read_request(
    body: bytes, *, protocol: str, features: Collection[str], encoded: bool = False, binary: bool = False
) -> Readable | Unreadable:
    """
    protocol: v1 or v2. features: names of the schema's features, by which a lone tensor is told from a column.
    encoded: the body has a content encoding. binary: it carries binary tensors.
    """
    if len(body) > SCORED_BYTES:
        return Unreadable("body_too_large")
    if encoded:
        return Unreadable("unsupported_encoding")
    if binary:
        return Unreadable("binary_tensor")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Unreadable("not_json")
    if not isinstance(document, dict):
        return Unreadable("not_an_object")
    return _read_v1(document) if protocol == "v1" else _read_v2(document, features)


def _read_v1(document: dict[str, Any]) -> Readable | Unreadable:
    rows = document.get("instances")
    if rows is None:
        rows = document.get("inputs")
    if rows is None:
        enclosed = document.get("data")  # a structured CloudEvent
        return _read_v1(enclosed) if isinstance(enclosed, dict) and "specversion" in document else _NO_INSTANCES
    if isinstance(rows, list):
        return Rows(rows)
    if isinstance(rows, dict) and rows and all(isinstance(values, list) for values in rows.values()):
        return Columns(rows)
    return _NOT_ROWS


def _read_v2(document: dict[str, Any], features: Collection[str]) -> Readable | Unreadable:
    tensors = document.get("inputs")
    if tensors is None:
        return _NO_INSTANCES
    if not isinstance(tensors, list) or not tensors or not all(isinstance(tensor, dict) for tensor in tensors):
        return _NOT_ROWS
    if any("data" not in tensor for tensor in tensors):
        return Unreadable("binary_tensor" if any("parameters" in tensor for tensor in tensors) else "not_rows")
    if len(tensors) > 1 or (_is_column(tensors[0]) and tensors[0].get("name") in features):
        return _columns(tensors)
    return _matrix(tensors[0])


def _is_column(tensor: Mapping[str, Any]) -> bool:
    shape = tensor.get("shape")
    return isinstance(shape, list) and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))


def _columns(tensors: list[dict[str, Any]]) -> Readable | Unreadable:
    columns: dict[str, Sequence[object]] = {}
    for tensor in tensors:
        data = tensor["data"]
        if not _is_column(tensor) or not isinstance(data, list) or len(data) != tensor["shape"][0]:
            return _WRONG_SHAPE
        nested = bool(data) and all(isinstance(value, list) and len(value) == 1 for value in data)
        columns[str(tensor.get("name"))] = [value[0] for value in data] if nested else data
    return Columns(columns)


def _matrix(tensor: Mapping[str, Any]) -> Readable | Unreadable:
    shape, data = tensor.get("shape"), tensor["data"]
    if not isinstance(shape, list) or len(shape) != 2 or not all(_is_size(size) for size in shape):
        return _WRONG_SHAPE
    if not isinstance(data, list):
        return _NOT_ROWS
    rows, width = shape
    if len(data) == rows and all(isinstance(row, list) for row in data):
        return Rows(data) if all(len(row) == width for row in data) else _WRONG_SHAPE
    if len(data) != prod(shape) or width == 0:
        return _WRONG_SHAPE
    return Rows([data] if rows == 1 else [data[start : start + width] for start in range(0, len(data), width)])


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_NO_INSTANCES: Final = Unreadable("no_instances")
_NOT_ROWS: Final = Unreadable("not_rows")
_WRONG_SHAPE: Final = Unreadable("wrong_shape")


@dataclass(frozen=True, slots=True)
class Answer:
    """
    predictions: v1 "predictions"; v2 the data of the one output, or {name: data} of several; None where there are none.
    version: the answer's model_version. issue: one of ISSUES, why there are no predictions.
    """

    predictions: object = None
    version: str | None = None
    issue: str | None = None


def read_answer(body: bytes | None, *, encoded: bool = False) -> Answer:
    """body: of a 2xx answer; None for one that was too long to keep."""
    if body is None or len(body) > ANSWER_BYTES:
        return Answer(issue="answer_too_large")
    if encoded:
        return Answer(issue="answer_encoded")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Answer(issue="answer_not_json")
    return _predictions(document) if isinstance(document, dict) else Answer(issue="no_predictions")


def _predictions(document: dict[str, Any]) -> Answer:
    version = document.get("model_version")
    version = version if isinstance(version, str) and version else None
    if "predictions" in document:
        return Answer(document["predictions"], version)
    outputs = document.get("outputs")
    if not isinstance(outputs, list) or not outputs or not all(isinstance(output, dict) for output in outputs):
        return Answer(version=version, issue="no_predictions")
    if len(outputs) == 1:
        return Answer(outputs[0].get("data"), version)
    return Answer({str(output.get("name")): output.get("data") for output in outputs}, version)
