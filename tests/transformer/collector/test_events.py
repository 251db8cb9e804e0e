"""HTTP requests read as logger events, whatever comes."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transformer.collector.agent_events import REQUEST, RESPONSE, agent_headers, structured
from transformer.collector.events import BATCH_EVENTS, Event, Malformed, OtherEvent, binary_half, read_events

BODY = b'{"instances": [[1.10, 2e0]]}'


def read(headers: dict[str, str], body: bytes) -> Any:
    (event,) = read_events({name.lower(): value for name, value in headers.items()}, body)
    return event


def read_structured(document: object) -> Any:
    return read({"content-type": "application/cloudevents+json; charset=utf-8"}, json.dumps(document).encode())


def test_an_event_of_the_agent_is_read_whole() -> None:
    time = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    metadata = {"X-Request-Id": 'r "1"', "Traceparent": "00-ab"}
    event = read(agent_headers("a-1", REQUEST, time=time, metadata=metadata), BODY)
    assert event == Event(
        id="a-1",
        is_request=True,
        body=BODY,
        time_ms=time.timestamp() * 1000,
        headers={b"x-request-id": b'r "1"', b"traceparent": b"00-ab"},
        service="sums",
        namespace="tests",
        component="predictor",
        endpoint="default",
    )


@pytest.mark.parametrize("prefix", ["org.kubeflow.serving.inference", "io.kserve.inference"])
def test_requests_and_responses_are_told_by_their_types(prefix: str) -> None:
    assert read(agent_headers("1", f"{prefix}.request"), BODY).is_request
    assert not read(agent_headers("1", f"{prefix}.response"), BODY).is_request
    assert read(agent_headers("1", "com.example.other"), BODY) == OtherEvent("com.example.other")


def test_structured_events_keep_every_double() -> None:
    values = [0.1, 1e-300, 12345678901234567, -0.0, 0.30000000000000004]
    event = read_structured(structured("1", REQUEST, data={"instances": [values]}))
    assert json.loads(event.body) == {"instances": [values]}
    packed = structured("1", REQUEST, data_base64=base64.b64encode(b"\x00\xff").decode())
    assert read_structured(packed).body == b"\x00\xff"


def test_metadata_is_read_percent_encoded_or_plain() -> None:
    headers = agent_headers("1", REQUEST) | {"Ce-Metadata": "%7B%22X-Request-Id%22:%5B%22r%22%5D%7D"}
    assert read(headers, BODY).headers == {b"x-request-id": b"r"}
    for odd in ("[1]", "{", "null", '{"A": 3, "B": [], "C": [1]}', "[" * 100_000):
        assert read(headers | {"Ce-Metadata": odd}, BODY).headers == {}


def test_the_trace_of_the_distributed_tracing_extension_is_taken() -> None:
    assert read(agent_headers("1", REQUEST, Ce_Traceparent="00-1"), BODY).headers == {b"traceparent": b"00-1"}


def test_grpc_messages_are_taken_out_of_their_frames() -> None:
    def message(body: bytes) -> Event:
        event = read(agent_headers("1", REQUEST, Content_Type="application/grpc+proto"), body)
        assert isinstance(event, Event) and event.is_grpc
        return event

    assert message(b"\x00\x00\x00\x00\x02ab").body == b"ab"
    assert message(b"\x00\x00\x00\x00\x01a\x00\x00\x00\x00\x01b").body == b"a", "the first of a stream"
    assert (message(b"\x00\x00\x00\x00\x00").body, message(b"\x00").body) == (b"", b"\x00")
    assert not message(b"\x00\x00\x00\x00\x02ab").packed
    assert message(b"\x01\x00\x00\x00\x02ab").packed


@pytest.mark.parametrize("time", ["yesterday", "2026-01-01T00:00:00", "", "1e9"])
def test_a_time_that_is_none_or_of_no_zone_is_not_taken(time: str) -> None:
    assert read(agent_headers("1", REQUEST) | {"Ce-Time": time}, BODY).time_ms is None


@pytest.mark.parametrize("name", ["Ce-Id", "Ce-Type", "Ce-Source", "Ce-Specversion"])
def test_what_lacks_an_attribute_is_malformed(name: str) -> None:
    headers = agent_headers("1", REQUEST)
    del headers[name]
    assert isinstance(read(headers, BODY), Malformed)


@pytest.mark.parametrize(
    "document",
    [
        None,
        3,
        [],
        {},
        {"specversion": ["1.0"]},
        structured("", REQUEST),
        structured("x" * 257, REQUEST),
        structured("1", REQUEST, id=3),
        structured("1", REQUEST, type=None),
        structured("1", REQUEST, data_base64="abc"),
        structured("1", REQUEST, data_base64=7),
        structured("1", REQUEST, specversion="9.9"),
    ],
)
def test_structured_nonsense_is_malformed_and_not_quoted(document: object) -> None:
    found = read_structured(document)
    assert isinstance(found, Malformed)
    assert "\n" not in str(found) and len(str(found)) < 150


def test_a_batch_is_read_event_by_event() -> None:
    batch = [structured("1", REQUEST, data={"instances": []}), {"no": "event"}, structured("1", RESPONSE, data={})]
    headers = {"content-type": "application/cloudevents-batch+json"}
    first, second, third = read_events(headers, json.dumps(batch).encode())
    assert isinstance(first, Event) and first.is_request
    assert isinstance(second, Malformed)
    assert isinstance(third, Event) and not third.is_request
    for nonsense in (b"{", b"{}", json.dumps([{}] * (BATCH_EVENTS + 1)).encode()):
        (only,) = read_events(headers, nonsense)
        assert isinstance(only, Malformed)
    assert list(read_events(headers, b"[]")) == []


def test_which_half_it_is_can_be_told_before_the_body_has_come() -> None:
    def half(headers: dict[str, str]) -> tuple[str, bool] | None:
        return binary_half({name.lower(): value for name, value in headers.items()})

    assert half(agent_headers("1", REQUEST)) == ("1", True)
    assert half(agent_headers("1", RESPONSE)) == ("1", False)
    assert half(agent_headers("x" * 257, REQUEST)) is None
    assert half({"Content-Type": "application/cloudevents+json"}) is None


NAMES = ["ce-specversion", "ce-id", "ce-type", "ce-source", "ce-time", "ce-metadata", "content-type"]
VALUES = st.one_of(
    st.sampled_from(["1.0", "0.3", REQUEST, "application/cloudevents+json", "application/cloudevents-batch+json"]),
    st.text(max_size=20),
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.one_of(st.binary(max_size=60), st.just(b'[{"id": {}}]')))
def test_nothing_that_comes_raises(headers: dict[str, str], body: bytes) -> None:
    for event in read_events(headers, body):
        assert isinstance(event, Event | OtherEvent | Malformed)
