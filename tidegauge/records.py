"""
The inference topic's two kinds of message, v1: one record per served request, one heartbeat per worker and second.

Messages are JSON objects. Times are UTC epoch milliseconds of the transformer's clock, which never goes back within an
incarnation. `seq` numbers the served requests of one incarnation of one worker from 1 at their arrival, so a gap is a
loss that anyone downstream can see.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tidegauge.errors import InvalidRecord

VERSION: Final = 1

INVALID_REASONS: Final = ("not_json", "not_an_object", "unknown_version", "unknown_kind", "missing_field", "wrong_type")

PROTOCOLS: Final = ("v1", "v2", "grpc")


@dataclass(frozen=True, kw_only=True)
class InferenceRecord:
    """
    What is known of one served request.

    time_ms: arrival, the request's event time. latency_ms: arrival to answer; upstream_ms: the predictor's part of it.
    status: 0 where it is not known.
    features: rows x features in schema order, None = missing; None in all where the request could not be read.
    scores, p_values: {detector: one per row}; p_values also has "combined". outlier: one per row.
    top: per row the features that drive its score, [name, contribution], largest first.
    issues: what was wrong with the request's values, by kind (features.ISSUES and the reader's own kinds).
    baseline: content id of the profile that scored it. weight: 1 / probability of being logged.
    rejected: the answer was 422 by the monitor's policy, whatever the predictor said.
    raw: with the monitor's payload "raw", {"request": body, "answer": body}, each {"encoding": "text" | "base64",
    "data", "bytes": how many it had} or None; else None.
    """

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
    features: Sequence[Sequence[object]] | None = None
    predictions: object = None
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    p_values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    outlier: Sequence[bool] = ()
    top: Sequence[Sequence[Sequence[object]]] = ()
    issues: Mapping[str, int] = field(default_factory=dict)
    traceparent: str | None = None
    weight: float = 1.0
    headers: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    rejected: bool = False
    raw: Mapping[str, object] | None = None

    @classmethod
    def of_fields(cls, fields: dict[str, Any]) -> InferenceRecord:
        """
        fields: all of them, in this order; the record keeps the dictionary. A third of the time that setting frozen
        fields one by one takes, where there is a record a request.
        """
        record = object.__new__(cls)
        object.__setattr__(record, "__dict__", fields)
        return record


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    What became of every request an incarnation served, cumulative and whole at every instant:
    served = acknowledged + sum(dropped) + sampled_out + in_flight + spooled.
    """

    served: int = 0
    acknowledged: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    sampled_out: int = 0
    in_flight: int = 0
    spooled: int = 0

    def balances(self) -> bool:
        accounted = self.acknowledged + sum(self.dropped.values()) + self.sampled_out + self.in_flight + self.spooled
        return self.served == accounted


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """
    seq: how many requests arrived before time_ms, which is a whole second, so the difference of two heartbeats is
    exactly what was served between them. The last one of an incarnation that stops in good order is `final`; its
    time_ms is the moment itself, and nothing of this incarnation comes after it.
    account: as of the moment of sending.
    """

    time_ms: int
    monitor: str
    model: str
    version: str
    namespace: str
    replica: str
    incarnation: str
    seq: int
    baseline: str
    account: Account
    final: bool = False


def encode_record(record: InferenceRecord) -> bytes:
    """NaN and infinities become null. Raises TypeError for a prediction that JSON cannot hold."""
    return _KIND + orjson.dumps(vars(record), option=orjson.OPT_SERIALIZE_NUMPY)[1:]


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    return orjson.dumps({"v": VERSION, "kind": "heartbeat"} | _plain(heartbeat))


def decode(data: bytes) -> InferenceRecord | Heartbeat:
    """Raises InvalidRecord. Unknown fields are ignored, so that a later minor writer can be read."""
    document = _object(data)
    if document.get("v") != VERSION:
        raise InvalidRecord("unknown_version", f"v = {document.get('v')!r}, this reader knows {VERSION}")
    kind = document.get("kind")
    if kind == "inference":
        return _record(document)
    if kind == "heartbeat":
        fields = _checked(document, _HEARTBEAT_TYPES, frozenset({"final"}))
        account = _checked(fields["account"], _ACCOUNT_TYPES, frozenset(_ACCOUNT_TYPES))
        _check_counts(account, "dropped")
        return Heartbeat(**fields | {"account": Account(**account)})
    raise InvalidRecord("unknown_kind", f"kind = {kind!r}")


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidRecord("not_json", str(error)) from error
    if type(document) is not dict:
        raise InvalidRecord("not_an_object", type(document).__name__)
    return document


def _plain(heartbeat: Heartbeat) -> dict[str, object]:
    document: dict[str, object] = {name: getattr(heartbeat, name) for name in _HEARTBEAT_TYPES}
    document["account"] = {name: getattr(heartbeat.account, name) for name in _ACCOUNT_TYPES}
    return document


_Types = Mapping[str, type | tuple[type, ...]]

_NUMBER = (int, float)
_RECORD_TYPES: Final[_Types] = {
    "id": str,
    "time_ms": int,
    "monitor": str,
    "model": str,
    "version": str,
    "namespace": str,
    "replica": str,
    "incarnation": str,
    "seq": int,
    "protocol": str,
    "status": int,
    "latency_ms": _NUMBER,
    "upstream_ms": _NUMBER,
    "rows": int,
    "baseline": str,
    "features": (list, type(None)),
    "predictions": object,
    "scores": dict,
    "p_values": dict,
    "outlier": list,
    "top": list,
    "issues": dict,
    "traceparent": (str, type(None)),
    "weight": _NUMBER,
    "headers": dict,
    "labels": dict,
    "rejected": bool,
    "raw": (dict, type(None)),
}
_FIELDS: Final = tuple(_RECORD_TYPES)
_KIND: Final = orjson.dumps({"v": VERSION, "kind": "inference"})[:-1] + b","
_RECORD_OPTIONAL: Final = frozenset(_FIELDS[_FIELDS.index("features") :])
_HEARTBEAT_TYPES: Final[_Types] = {
    "time_ms": int,
    "monitor": str,
    "model": str,
    "version": str,
    "namespace": str,
    "replica": str,
    "incarnation": str,
    "seq": int,
    "baseline": str,
    "account": dict,
    "final": bool,
}
_ACCOUNT_TYPES: Final[_Types] = {
    "served": int,
    "acknowledged": int,
    "dropped": dict,
    "sampled_out": int,
    "in_flight": int,
    "spooled": int,
}


def _record(document: dict[str, Any]) -> InferenceRecord:
    """
    One writer's records mostly have the same fields of the same types: these are looked at once, and the document
    becomes the record as it is, which costs a third of setting its fields one by one.
    """
    shape = (tuple(document), tuple(map(type, document.values())))
    if shape != _LATEST[0]:  # quicker told than by the cache's hashes
        if not _is_as_written(*shape):
            document = _checked(document, _RECORD_TYPES, _RECORD_OPTIONAL)
            _check_values(document)
            return InferenceRecord(**document)
        _LATEST[0] = shape
    _check_values(document)
    del document["v"], document["kind"]
    return InferenceRecord.of_fields(document)


_LATEST: Final[list[tuple[tuple[str, ...], tuple[type, ...]]]] = [((), ())]
"""Names and types of the last document that was as written."""


@functools.lru_cache(maxsize=256)
def _is_as_written(names: tuple[str, ...], types: tuple[type, ...]) -> bool:
    """Whether a document with these fields, of these types, has every field of a record and no other."""
    given = {name: kind for name, kind in zip(names, types, strict=True) if name not in ("v", "kind")}
    return given.keys() == _RECORD_TYPES.keys() and all(
        issubclass(kind, _RECORD_TYPES[name]) and not (kind is bool and _RECORD_TYPES[name] in (int, _NUMBER))
        for name, kind in given.items()
    )


def _checked(document: Mapping[str, Any], types: _Types, optional: frozenset[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, expected in types.items():
        if name not in document:
            if name in optional:
                continue
            raise InvalidRecord("missing_field", name)
        value = document[name]
        if not isinstance(value, expected) or (isinstance(value, bool) and expected in (int, _NUMBER)):
            raise InvalidRecord("wrong_type", f"{name} is {type(value).__name__}")
        fields[name] = value
    return fields


def _check_values(fields: Mapping[str, Any]) -> None:
    if not 0 < fields.get("weight", 1.0) < math.inf:
        raise InvalidRecord("wrong_type", "weight is not a positive number")
    if fields.get("issues"):
        _check_counts(fields, "issues")


def _check_counts(fields: Mapping[str, Any], name: str) -> None:
    """They are added up downstream, where one text among them would stop the sum."""
    if not all(type(count) is int and count >= 0 for count in fields.get(name, {}).values()):
        raise InvalidRecord("wrong_type", f"{name} has something else than counts")


def whole_second(time_ms: int) -> int:
    """The last heartbeat boundary at or before time_ms."""
    return time_ms - time_ms % 1000
