"""The fold's quick reader takes what the kernel's takes, says the same of it, and leaves to it whatever is odd."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import orjson
import pytest

from aggregator.written_record import WrittenRecord, read
from tests.support.examples import make_heartbeat, make_record
from tidegauge.errors import InvalidRecord
from tidegauge.records import Account, Heartbeat, InferenceRecord, decode, encode_heartbeat, encode_record

FIELDS = [field.name for field in dataclasses.fields(InferenceRecord)]

WRITTEN = orjson.loads(encode_record(make_record()))

VALUES: list[Any] = [None, True, -1, 0, 7, 1.0, 2.5, 2**63, 2**64, "", "text", [], [1], [None], {}, {"a": 1}, {"a": -1}]


def said(message: Any) -> dict[str, Any] | Heartbeat:
    return message if isinstance(message, Heartbeat) else {name: getattr(message, name) for name in FIELDS}


def with_value(document: dict[str, Any], name: str, value: Any) -> bytes:
    """value: also what orjson does not write."""
    return orjson.dumps(document | {name: "@"}).replace(b'"@"', msgspec.json.encode(value))


def without(document: dict[str, Any], name: str) -> bytes:
    return orjson.dumps({field: value for field, value in document.items() if field != name})


def outcome(reader: Any, data: bytes) -> Any:
    try:
        return said(reader(data))
    except InvalidRecord as error:
        return error.reason, error.detail


def test_it_has_the_fields_of_a_record_in_their_order() -> None:
    assert [*WrittenRecord.__struct_fields__] == ["v", "kind", *FIELDS]


def test_a_record_as_it_is_written_is_read_at_once() -> None:
    data = encode_record(make_record())
    assert isinstance(read(data), WrittenRecord)
    assert outcome(read, data) == outcome(decode, data)


@pytest.mark.parametrize("dropped", [{}, {"queue_full": 3}])
def test_a_heartbeat_is_the_kernels(dropped: dict[str, int]) -> None:
    heartbeat = make_heartbeat(account=Account(served=12, acknowledged=9, dropped=dropped))
    assert read(encode_heartbeat(heartbeat)) == heartbeat


HEARTBEAT = orjson.loads(encode_heartbeat(make_heartbeat()))


@pytest.mark.parametrize("name", [*HEARTBEAT])
def test_any_other_value_of_a_heartbeat_comes_to_the_same(name: str) -> None:
    for value in VALUES:
        data = with_value(HEARTBEAT, name, value)
        assert outcome(read, data) == outcome(decode, data), value


@pytest.mark.parametrize("name", [*HEARTBEAT["account"]])
def test_any_other_value_in_its_account_comes_to_the_same(name: str) -> None:
    for value in [*VALUES, {"a": True}, {"a": 2**64}]:
        account = orjson.Fragment(with_value(HEARTBEAT["account"], name, value))
        data = orjson.dumps(HEARTBEAT | {"account": account})
        assert outcome(read, data) == outcome(decode, data), value


@pytest.mark.parametrize("name", [*HEARTBEAT])
def test_a_missing_field_of_a_heartbeat_comes_to_the_same(name: str) -> None:
    data = without(HEARTBEAT, name)
    assert outcome(read, data) == outcome(decode, data)


BEYOND_64_BITS = [(name, 2**64) for name in ("time_ms", "seq", "status", "rows")]
"""orjson makes floats of these, which are refused as such; the fold refuses them for what they say."""


@pytest.mark.parametrize("name", ["v", "kind", *FIELDS])
def test_any_other_value_of_a_field_comes_to_the_same(name: str) -> None:
    for value in VALUES:
        if (name, value) in BEYOND_64_BITS:
            continue
        data = with_value(WRITTEN, name, value)
        assert outcome(read, data) == outcome(decode, data), value


@pytest.mark.parametrize("name", ["v", "kind", *FIELDS])
def test_a_missing_field_comes_to_the_same(name: str) -> None:
    data = without(WRITTEN, name)
    assert outcome(read, data) == outcome(decode, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"v":2}',
        encode_record(make_record())[:-1],
        encode_record(make_record()) + b"}",
        encode_record(make_record()).replace(b'"model":"', b'"model":"\xff'),
        encode_record(make_record()).replace(b'"model":"', b'"model":"\\ud800'),
        encode_record(make_record())[:-1] + b',"kind":"heartbeat"}',
        encode_record(make_record())[:-1] + b',"labels":{"a":1e400}}',
        encode_record(make_record())[:-1] + b',"new":{"a":[1]}}',
        b"[" * 5_000,
    ],
    ids=lambda data: repr(data[-12:]),
)
def test_other_bytes_come_to_the_same(data: bytes) -> None:
    assert outcome(read, data) == outcome(decode, data)


def test_fields_of_later_writers_are_not_looked_into() -> None:
    data = encode_record(make_record())
    assert said(read(data[:-1] + b',"later":[1e400,"\xff"]}')) == outcome(decode, data)
