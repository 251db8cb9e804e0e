"""
HTTP requests turned into KServe's logger events: CloudEvents 1.0 and 0.3 in binary, structured and batched mode.

KServe's agent sends two for a request, in binary mode: the request's body and, where the answer was 200, the answer's,
both with the same id. It does not say which path was asked, and passes on headers only where the InferenceService's
`logger.metadataHeaders` lists them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

import orjson
from cloudevents.http import from_http

_PREFIXES: Final = ("org.kubeflow.serving.inference.", "io.kserve.inference.")
REQUEST_TYPES: Final = frozenset(prefix + "request" for prefix in _PREFIXES)
RESPONSE_TYPES: Final = frozenset(prefix + "response" for prefix in _PREFIXES)

ID_CHARACTERS: Final = 256
BATCH_EVENTS: Final = 1000

_GZIP: Final = b"\x1f\x8b"
_FRAME_BYTES: Final = 5


class Malformed(Exception):
    """The text says what is wrong, in one line that quotes nothing of the event's data."""


@dataclass(frozen=True, slots=True)
class Event:
    """
    One half of a served request. body: of gRPC, the message without its frame. compressed: a gRPC message. time_ms: UTC
    epoch, None where the event does not say. headers: of the request, as far as they were passed on, by lower-case
    name. service, namespace, component, endpoint: who served it, None where the event does not say.
    """

    id: str
    is_request: bool
    body: bytes
    time_ms: float | None = None
    is_grpc: bool = False
    compressed: bool = False
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    service: str | None = None
    namespace: str | None = None
    component: str | None = None
    endpoint: str | None = None

    @property
    def packed(self) -> bool:
        """JSON does not begin like gzip, and an answer's content encoding is not among what events say."""
        return self.compressed or self.body.startswith(_GZIP)


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """A CloudEvent that is none of KServe's logger."""

    type: str


def read_events(headers: Mapping[str, str], body: bytes) -> Iterator[Event | OtherEvent | Malformed]:
    """headers: by lower-case name. One for each event; that there is none is one Malformed."""
    if headers.get("content-type", "").lower().startswith("application/cloudevents-batch"):
        yield from _batch(body)
    else:
        yield _read(headers, body)


def binary_half(headers: Mapping[str, str]) -> tuple[str, bool] | None:
    """The id of an event in binary mode, and whether it is a request: all that is known before its body has come."""
    kind = headers.get("ce-type", "")
    if kind not in REQUEST_TYPES | RESPONSE_TYPES or not 0 < len(headers.get("ce-id", "")) <= ID_CHARACTERS:
        return None
    return headers["ce-id"], kind in REQUEST_TYPES


def _batch(body: bytes) -> Iterator[Event | OtherEvent | Malformed]:
    try:
        documents = orjson.loads(body)
    except orjson.JSONDecodeError:
        documents = None
    if not isinstance(documents, list) or len(documents) > BATCH_EVENTS:
        yield Malformed(f"a batch is a JSON array of at most {BATCH_EVENTS} CloudEvents")
        return
    structured = {"content-type": "application/cloudevents+json"}
    for document in documents:
        yield _read(structured, orjson.dumps(document))


def _read(headers: Mapping[str, str], body: bytes) -> Event | OtherEvent | Malformed:
    try:
        cloud_event = from_http(dict(headers), body, data_unmarshaller=lambda data: data)
        attributes: Mapping[str, Any] = cloud_event.get_attributes()
        data = cloud_event.get_data()
    except Exception:  # noqa: BLE001 - the library raises TypeErrors too, and its messages quote data
        return Malformed("not a CloudEvent 1.0 or 0.3 with id, source and type, in binary, structured or batched mode")
    kind, identity = attributes.get("type"), attributes.get("id")
    if not isinstance(kind, str) or not isinstance(identity, str):
        return Malformed("its id or type is no text")
    if kind not in REQUEST_TYPES | RESPONSE_TYPES:
        return OtherEvent(kind)
    if not 0 < len(identity) <= ID_CHARACTERS:
        return Malformed(f"its id has {len(identity)} characters: 1 to {ID_CHARACTERS} are taken")
    body = data.encode() if isinstance(data, str) else data or b""
    is_grpc = (_text(attributes, "datacontenttype") or "").startswith("application/grpc")
    compressed = False
    if is_grpc and len(body) >= _FRAME_BYTES:
        body, compressed = _message(body)
    return Event(
        id=identity,
        is_request=kind in REQUEST_TYPES,
        body=body,
        time_ms=_time_ms(attributes.get("time")),
        is_grpc=is_grpc,
        compressed=compressed,
        headers=_headers(attributes),
        service=_text(attributes, "inferenceservicename"),
        namespace=_text(attributes, "namespace"),
        component=_text(attributes, "component"),
        endpoint=_text(attributes, "endpoint"),
    )


def _message(body: bytes) -> tuple[bytes, bool]:
    """The first message of a gRPC body, where each has its length before it, and whether it is compressed."""
    return body[_FRAME_BYTES : _FRAME_BYTES + int.from_bytes(body[1:_FRAME_BYTES], "big")], body[0] == 1


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    return value if isinstance(value, str) and value else None


def _time_ms(text: object) -> float | None:
    """RFC 3339; digits beyond microseconds are cut off."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return time.timestamp() * 1000 if time is not None and time.tzinfo is not None else None


def _headers(attributes: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Of `metadata`, a JSON object {name: [values]}, and of the distributed tracing extension."""
    found: dict[bytes, bytes] = {}
    for name in ("traceparent", "tracestate"):
        if value := _text(attributes, name):
            found[name.encode()] = value.encode("latin-1", "replace")
    for name, values in _metadata(attributes.get("metadata")).items():
        first = values[0] if isinstance(values, list) and values else values
        if isinstance(first, str):
            found[name.lower().encode("latin-1", "replace")] = first.encode("latin-1", "replace")
    return found


def _metadata(text: object) -> Mapping[str, object]:
    if isinstance(text, dict):
        return text
    if not isinstance(text, str):
        return {}
    for form in (text, unquote(text)):  # the specification has header values percent-encoded, the agent does not
        try:
            document = json.loads(form)
        except (ValueError, RecursionError):
            continue
        return document if isinstance(document, dict) else {}
    return {}
