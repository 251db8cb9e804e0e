"""
Inference records as the fold reads them: from bytes to fields of the right types in one pass.

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


assert VERSION == 1, "WrittenRecord is of this version"

_WRITTEN: Final = msgspec.json.Decoder(WrittenRecord)


def read(data: bytes) -> WrittenRecord | InferenceRecord | Heartbeat:
    """Raises InvalidRecord."""
    try:
        record = _WRITTEN.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return decode(data)
    return record if record.weight > 0 and not record.issues else decode(data)
