"""
Bodies of requests and answers turned into rows and predictions. Nothing here raises, and nothing here is needed to
serve: what cannot be read is forwarded all the same, and the record says why, by one of ISSUES.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from transformer.open_inference import answer_document, input_tensors
from transformer.tensors import Data, is_size, json_length, with_binary_data

ISSUES: Final = (
    "body_too_large",  # longer than what is read for scoring, so that one request does not hold up the others
    "unsupported_encoding",  # the request's body is compressed
    "binary_tensor",  # v2 binary tensors whose types, shapes and sizes do not fit each other
    "not_json",
    "not_protobuf",  # gRPC: what came is no ModelInferRequest
    "not_an_object",
    "no_instances",  # v1: neither "instances" nor "inputs"; v2: no "inputs"
    "not_rows",  # instances or inputs of the wrong type
    "wrong_shape",  # a tensor that is not rows x features, or whose data do not fill its shape
    "scoring_failed",  # a fault of ours
    "scoring_skipped",  # rows left over when the time before the answer was spent, while too many waited
    "rows_not_recorded",  # with them the record would be longer than capture.maxRecordBytes
    "answer_too_large",  # the answer is longer than what is read for the record
    "answer_cut_short",  # the predictor or the client ended it before it was whole
    "answer_encoded",  # the answer's body is compressed
    "answer_not_json",
    "answer_not_protobuf",
    "answer_binary_tensor",  # as binary_tensor, in the answer
    "response_not_seen",  # the collector saw the request's event alone: an error, a slow answer, or a lost event
    "not_sent_to_predictor",  # a wrapped transformer answered or refused by itself
    "further_calls_not_scored",  # of a wrapped transformer that asked the predictor more than once
    "bad_version",  # the answer's model_version is over-long or not printable: the monitor's stands for it
    "no_predictions",  # the answer has neither "predictions" nor "outputs"
)
"""Every kind of issue counted here, beside features.ISSUES, for metric labels."""

SCORED_BYTES: Final = 4 << 20
"""Longer request bodies are not scored: JSON is read in one go, and 4 MiB hold the event loop up for some 10 ms."""

LENIENT_BYTES: Final = 256 << 10
"""
Up to here a body with NaN, Infinity or numbers beyond the range of doubles is read as Python's own reader does, which
many clients and predictors use; it takes ten times as long, some 2 ms for that much.
"""

ANSWER_BYTES: Final = 1 << 20
"""Longer answers are not read for predictions: the record would exceed what a Kafka broker takes by default."""


@dataclass(slots=True)
class Rows:
    """Each a list of values in schema order or a mapping from feature name to value; not yet checked."""

    rows: Data

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> Rows:
        return Rows(self.rows[start:stop])


@dataclass(frozen=True, slots=True)
class Columns:
    """Values by feature name; not yet checked."""

    columns: Mapping[str, Data]

    def __len__(self) -> int:
        return max(map(len, self.columns.values()), default=0)

    def part(self, start: int, stop: int) -> Columns:
        return Columns({name: values[start:stop] for name, values in self.columns.items()})


@dataclass(frozen=True, slots=True)
class Unreadable:
    """issue: one of ISSUES."""

    issue: str


Readable = Rows | Columns


def read_request(
    body: bytes, *, protocol: str, features: Collection[str], encoded: bool = False, binary: bytes | None = None
) -> Readable | Unreadable:
    """
    protocol: v1, v2 or grpc. features: names of the schema's features, by which a lone tensor is told from a column.
    encoded: the body has a content encoding. binary: the header inference-header-content-length.
    """
    if len(body) > SCORED_BYTES:
        return Unreadable("body_too_large")
    if encoded:
        return Unreadable("unsupported_encoding")
    if protocol == "grpc":
        tensors = input_tensors(body)
        return Unreadable(tensors) if isinstance(tensors, str) else _read_tensors(tensors, features)
    tail = b""
    if binary is not None and protocol == "v2":
        length = json_length(binary, body)
        if length is None:
            return _BINARY
        body, tail = body[:length], body[length:]
    document = _document(body)
    if not isinstance(document, dict):
        return document if isinstance(document, Unreadable) else Unreadable("not_an_object")
    return _read_v1(document) if protocol == "v1" else _read_v2(document, features, tail)


def _document(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if len(body) > LENIENT_BYTES:
            return _NOT_JSON
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError):
        return _NOT_JSON


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


def _read_v2(document: dict[str, Any], features: Collection[str], tail: bytes) -> Readable | Unreadable:
    tensors = document.get("inputs")
    if tensors is None:
        return _NO_INSTANCES
    if not isinstance(tensors, list) or not tensors or not all(isinstance(tensor, dict) for tensor in tensors):
        return _NOT_ROWS
    if tail or any("data" not in tensor for tensor in tensors):
        tensors = with_binary_data(tensors, tail)
        if tensors is None:
            return _BINARY
        if any("data" not in tensor for tensor in tensors):
            return _NOT_ROWS
    return _read_tensors(tensors, features)


def _read_tensors(tensors: list[dict[str, Any]], features: Collection[str]) -> Readable | Unreadable:
    if not tensors:
        return _NO_INSTANCES
    if len(tensors) > 1 or (_is_column(tensors[0]) and tensors[0].get("name") in features):
        return _columns(tensors)
    return _matrix(tensors[0], len(features))


def _is_column(tensor: Mapping[str, Any]) -> bool:
    shape = tensor.get("shape")
    return isinstance(shape, list) and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))


def _columns(tensors: list[dict[str, Any]]) -> Readable | Unreadable:
    columns: dict[str, Data] = {}
    for tensor in tensors:
        data = tensor["data"]
        if not _is_column(tensor) or not isinstance(data, (list, np.ndarray)) or len(data) != tensor["shape"][0]:
            return _WRONG_SHAPE
        nested = isinstance(data, list) and data and all(isinstance(value, list) and len(value) == 1 for value in data)
        columns[str(tensor.get("name"))] = [value[0] for value in data] if nested else data
    return Columns(columns)


def _matrix(tensor: Mapping[str, Any], features: int) -> Readable | Unreadable:
    shape, data = _rows_by_width(tensor.get("shape"), features), tensor["data"]
    if shape is None:
        return _WRONG_SHAPE
    if not isinstance(data, (list, np.ndarray)):
        return _NOT_ROWS
    rows, width = shape
    if isinstance(data, list) and len(data) == rows and all(isinstance(row, list) for row in data):
        return Rows(data) if all(len(row) == width for row in data) else _WRONG_SHAPE
    if len(data) != rows * width:
        return _WRONG_SHAPE
    if isinstance(data, np.ndarray):
        return Rows(data.reshape(rows, width))
    return Rows([data] if rows == 1 else [data[start : start + width] for start in range(0, len(data), width)])


def _rows_by_width(shape: object, features: int) -> tuple[int, int] | None:
    """A vector is one row where it has a value a feature, and as many rows where there is one feature."""
    if not isinstance(shape, list) or not all(is_size(size) for size in shape):
        return None
    if len(shape) == 1 and features in (1, shape[0]):
        return shape[0] // features, features
    return (shape[0], shape[1]) if len(shape) == 2 and shape[1] else None


_BINARY: Final = Unreadable("binary_tensor")
_NOT_JSON: Final = Unreadable("not_json")
_NO_INSTANCES: Final = Unreadable("no_instances")
_NOT_ROWS: Final = Unreadable("not_rows")
_WRONG_SHAPE: Final = Unreadable("wrong_shape")


@dataclass(slots=True)
class Answer:
    """
    predictions: v1 "predictions"; v2 the data of the one output, or {name: data} of several; None where there are none.
    version: the answer's model_version. issue: one of ISSUES, why there are no predictions.
    """

    predictions: object = None
    version: str | None = None
    issue: str | None = None


def read_answer(
    body: bytes | None, *, protocol: str = "v1", encoded: bool = False, binary: bytes | None = None
) -> Answer:
    """
    body: of a 2xx answer; None for one that was too long to keep. encoded: it has a content encoding. binary: the
    answer's header inference-header-content-length.
    """
    if body is None or len(body) > ANSWER_BYTES:
        return Answer(issue="answer_too_large")
    if encoded:
        return Answer(issue="answer_encoded")
    if protocol == "grpc":
        document = answer_document(body)
        return Answer(issue=document) if isinstance(document, str) else _predictions(document, b"")
    length = len(body) if binary is None else json_length(binary, body)
    if length is None:
        return _ANSWER_BINARY
    try:
        document = orjson.loads(body if binary is None else body[:length])
    except orjson.JSONDecodeError:
        return Answer(issue="answer_not_json")
    return _predictions(document, body[length:]) if isinstance(document, dict) else Answer(issue="no_predictions")


def _predictions(document: dict[str, Any], tail: bytes) -> Answer:
    version = document.get("model_version")
    version = version if isinstance(version, str) and version else None
    if "predictions" in document:
        return Answer(document["predictions"], version)
    outputs = document.get("outputs")
    if not isinstance(outputs, list) or not outputs or not all(isinstance(output, dict) for output in outputs):
        return Answer(version=version, issue="no_predictions")
    if tail:
        outputs = with_binary_data(outputs, tail)
        if outputs is None:
            return Answer(version=version, issue="answer_binary_tensor")
    values = [_plain(output.get("data")) for output in outputs]
    if len(values) == 1:
        return Answer(values[0], version)
    return Answer({str(output.get("name")): data for output, data in zip(outputs, values, strict=True)}, version)


def _plain(data: object) -> object:
    return data.tolist() if isinstance(data, np.ndarray) else data


_ANSWER_BINARY: Final = Answer(issue="answer_binary_tensor")
