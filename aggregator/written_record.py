"""
Records and heartbeats as the fold reads them: from bytes to fields of the right types in one pass.

Nothing is decided here. A message that is not in every field as a transformer writes it goes to the kernel's reader,
which takes it or says what is wrong with it.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from tidegauge.records import VERSION, Heartbeat, InferenceRecord, decode


class WrittenRecord(msgspec.Struct, gc=False):
    """The fields of tidegauge.records.InferenceRecord, which says what they mean. Nothing in JSON has cycles."""

    v: Literal[1]
    kind: Literal["inference"]
    id: str
    time_ms: int
    monitor: str
    model: str
    version: str
    namespace: str
    replica: str
    incarnation: str
    seq: int
    protocol: str
    status: int
    latency_ms: float
    upstream_ms: float
    rows: int
    baseline: str
    features: list[Any] | None
    predictions: Any
    scores: dict[str, Any]
    p_values: dict[str, Any]
    outlier: list[Any]
    top: list[Any]
    issues: dict[str, Any]
    traceparent: str | None
    weight: float
    headers: dict[str, Any]
    labels: dict[str, Any]
    rejected: bool
    raw: dict[str, Any] | None


class HeartbeatKind(msgspec.Struct):
    """What a message says that may be read as a tidegauge.records.Heartbeat."""

    v: Literal[1]
    kind: Literal["heartbeat"]


assert VERSION == 1, "WrittenRecord and HeartbeatKind are of this version"

_RECORD: Final = msgspec.json.Decoder(WrittenRecord)
_KIND: Final = msgspec.json.Decoder(HeartbeatKind)
_HEARTBEAT: Final = msgspec.json.Decoder(Heartbeat)

_NO_SUCH_MESSAGE: Final = (msgspec.MsgspecError, ValueError, RecursionError)

_BEYOND: Final = 2**63
"""Whole numbers from here on, as no transformer counts, are the kernel's to take or to refuse."""


def read(data: bytes) -> WrittenRecord | InferenceRecord | Heartbeat:
    """Raises InvalidRecord."""
    try:
        record = _RECORD.decode(data)
    except _NO_SUCH_MESSAGE:
        return _heartbeat(data) or decode(data)
    return record if record.weight > 0 and not record.issues else decode(data)


def _heartbeat(data: bytes) -> Heartbeat | None:
    try:
        _KIND.decode(data)
        heartbeat = _HEARTBEAT.decode(data)
    except _NO_SUCH_MESSAGE:
        return None
    account = heartbeat.account
    counts = (account.served, account.acknowledged, account.sampled_out, account.in_flight, account.spooled)
    as_usual = not account.dropped and max(heartbeat.time_ms, heartbeat.seq, *counts) < _BEYOND
    return heartbeat if as_usual else None
