"""
Events turned into the records that the transformer makes of the same requests, on one event loop.

What is numbered and told in heartbeats follows event time, `hold` behind the clock: a heartbeat counts what was served
before its time, so nothing may come before it afterwards.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Final

import orjson

from transformer.capture import Clock
from transformer.collector.events import Event, Malformed, OtherEvent
from transformer.collector.pairs import Pair, Pairs, Taken
from transformer.monitoring import Monitoring
from transformer.parse import ANSWER_BYTES, SCORED_BYTES
from transformer.served import ServedRequest

ADVANCE_S: Final = 0.02

_log = logging.getLogger("transformer.collector")


class Horizon:
    """A clock that stands at the event time up to which everything has been released."""

    def __init__(self, start_ms: int) -> None:
        self._ms = start_ms

    def now_ms(self) -> int:
        return self._ms

    def move_to(self, time_ms: int) -> None:
        self._ms = max(self._ms, time_ms)


@dataclass(frozen=True)
class Wanted:
    """Whose events are taken. An event that does not say whose it is, is taken too. endpoint: None for any."""

    service: str
    namespace: str
    component: str
    endpoint: str | None

    def missed_by(self, event: Event) -> str | None:
        """Why it is not taken: an outcome, or None."""
        for name, wanted in (
            ("service", self.service),
            ("namespace", self.namespace),
            ("component", self.component),
            ("endpoint", self.endpoint),
        ):
            said = getattr(event, name)
            if wanted is not None and said is not None and said != wanted:
                return f"other_{name}"
        return None


class Collector:
    """outcomes: how many events came to which end. odd_times: events whose time could not be theirs."""

    def __init__(
        self, monitoring: Monitoring, *, pairs: Pairs, wanted: Wanted, clock: Clock, horizon: Horizon, hold_ms: int
    ) -> None:
        self._monitoring, self._wanted = monitoring, wanted
        self._clock, self._horizon, self._hold_ms = clock, horizon, hold_ms
        self.pairs = pairs
        self.outcomes: Counter[str] = Counter()
        self.odd_times = 0
        self._concluded: list[ServedRequest] = []
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = self._loop.call_later(ADVANCE_S, self.start)
        self._advance()

    def receive(self, event: Event | OtherEvent | Malformed) -> str:
        """Takes one event; its outcome."""
        outcome = self._received(event)
        self.outcomes[outcome] += 1
        return outcome

    def refuse(self, identity: str, *, is_request: bool, outcome: str) -> None:
        """An event of which all that is known is its id. outcome: full or too_large."""
        self.outcomes[outcome] += 1
        if is_request and not self.pairs.refuse(identity, f"event_{outcome}", now_ms=self._clock.now_ms()):
            self._monitoring.recorder.missed(f"event_{outcome}")

    def close(self) -> None:
        """Concludes all that waits, and scores it. The recorder is to be closed after it."""
        if self._timer is not None:
            self._timer.cancel()
        self._advance_to(self._clock.now_ms())
        for pair in self.pairs.expired(None):
            self._end(pair)
        self._finish()
        self._monitoring.scorer.close()

    def _received(self, event: Event | OtherEvent | Malformed) -> str:
        if isinstance(event, Malformed):
            return "malformed"
        if isinstance(event, OtherEvent):
            return "other_type"
        if missed := self._wanted.missed_by(event):
            return missed
        if not event.is_request and not self.pairs.responses:
            return "not_asked_for"
        now_ms = self._clock.now_ms()
        taken, pair = self.pairs.take(event, time_ms=self._event_time(event, now_ms), now_ms=now_ms)
        if pair is not None:
            self._end(pair)
        elif taken is Taken.FULL and event.is_request and not self.pairs.refuse(event.id, "event_full", now_ms=now_ms):
            self._monitoring.recorder.missed("event_full")
        return taken.value

    def _event_time(self, event: Event, now_ms: int) -> int:
        """The event's own where that can be: not after now, and not so long ago that it has been accounted for."""
        if event.time_ms is None or not event.is_request:
            return now_ms
        if self._horizon.now_ms() < event.time_ms <= now_ms + 1:
            return int(event.time_ms)
        self.odd_times += 1
        return now_ms

    def _advance(self) -> None:
        now_ms = self._clock.now_ms()
        self._advance_to(now_ms - self._hold_ms)
        for pair in self.pairs.expired(now_ms):
            self._end(pair)

    def _advance_to(self, time_ms: int) -> None:
        for pair in self.pairs.released(time_ms):
            self._horizon.move_to(pair.time_ms)
            self._number(pair)
            if pair.response is not None or not self.pairs.responses:
                self._end(pair)
        self._horizon.move_to(time_ms)

    def _number(self, pair: Pair) -> None:
        event = pair.request
        assert event is not None
        headers = {**event.headers, b"ce-id": event.id.encode("latin-1", "replace")}
        if event.packed:
            headers.setdefault(b"content-encoding", b"gzip")
        protocol = _protocol(event)
        if protocol == "v2" and (length := _json_length(event.body)) is not None:
            headers.setdefault(b"inference-header-content-length", length)
        pair.served = self._monitoring.recorder.arrived(protocol, event.body, headers)

    def _end(self, pair: Pair) -> None:
        self.pairs.conclude(pair)
        if pair.served is None:
            self._monitoring.recorder.missed(pair.refused or "request_not_seen")
            return
        _note_answer(pair, pair.served)
        self._monitoring.scorer.submit(pair.served)
        if not self._concluded:
            self._loop.call_soon(self._finish)
        self._concluded.append(pair.served)

    def _finish(self) -> None:
        """In the turn after the scorer's, so that all that came together is scored together."""
        concluded, self._concluded = self._concluded, []
        for request in concluded:
            try:
                self._monitoring.scorer.finish(request, self._scored)
            except Exception:  # noqa: BLE001 - the others go on
                _log.exception("collecting_failed id=%s", request.id)
                self._monitoring.recorder.abandoned(request, "internal_error")

    def _scored(self, request: ServedRequest) -> None:
        if not request.status and self.pairs.responses:
            request.issues = {**request.issues, "response_not_seen": 1}
        self._monitoring.recorder.answered(request)


def _note_answer(pair: Pair, request: ServedRequest) -> None:
    response = pair.response
    if response is None or pair.request is None:
        return
    request.status = 200  # KServe's agent logs no other answer
    request.answer = response.body if len(response.body) <= ANSWER_BYTES else None
    request.answer_encoded = response.packed
    request.answer_binary = _json_length(response.body)
    request.latency_s = request.upstream_s = _latency_ms(pair, pair.request, response) / 1000


def _latency_ms(pair: Pair, request: Event, response: Event) -> float:
    if request.time_ms is not None and response.time_ms is not None:
        return max(0.0, response.time_ms - request.time_ms)
    return float(max(0, pair.answered_ms - pair.arrived_ms))


def _protocol(event: Event) -> str:
    """By the body, since events do not tell the path: the tensors of v2 have data types, the rows of v1 have none."""
    if event.is_grpc:
        return "grpc"
    is_v2 = b'"datatype"' in event.body and b'"inputs"' in event.body and b'"instances"' not in event.body
    return "v2" if is_v2 else "v1"


def _json_length(body: bytes) -> bytes | None:
    """
    How long the JSON is before binary tensors: inference-header-content-length, which events do not tell of an answer,
    and of a request only when asked to. None where there are none.
    """
    if len(body) > SCORED_BYTES or b'"binary_data_size"' not in body or _is_json(body):
        return None
    try:
        _, end = json.JSONDecoder().raw_decode(
            body.decode("latin-1")
        )  # one character a byte, so that places are the same
    except (ValueError, RecursionError):
        return None
    return str(end).encode()


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True
