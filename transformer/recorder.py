"""
Served requests turned into messages for Kafka after their answers, a turn of the event loop at a time; heartbeats.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Mapping
from typing import Final, Protocol

from tidegauge.records import encode_heartbeat
from transformer.capture import Boundary, Clock, Ledger
from transformer.captured import Captured
from transformer.enrich import Identity, encode_within, enrich, heartbeat
from transformer.metrics import Metrics
from transformer.served import ServedRequest
from transformer.wire import request_id

POLL_S: Final = 0.02
"""How often delivery reports are taken up; a call with nothing to do costs a microsecond."""

_log = logging.getLogger("transformer.recorder")


class Destination(Protocol):
    """Takes messages and never blocks; reports each record's end to the ledger, once (publisher.Publisher)."""

    def publish(self, key: str, record: bytes) -> None: ...
    def publish_outlier(self, key: str, record: bytes) -> None: ...
    def publish_heartbeat(self, key: str, heartbeat: bytes) -> None: ...
    def poll(self) -> None: ...
    async def flush(self, timeout_s: float) -> int: ...
    async def give_up(self) -> None: ...
    async def close(self) -> None: ...


class Recorder:
    def __init__(
        self,
        *,
        identity: Identity,
        captured: Captured,
        clock: Clock,
        ledger: Ledger,
        destination: Destination,
        metrics: Metrics,
    ) -> None:
        self._identity, self.captured = identity, captured
        self._clock, self._ledger = clock, ledger
        self._destination, self._metrics = destination, metrics
        self._loop = asyncio.get_running_loop()
        self._pending: list[ServedRequest] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The first heartbeat at once, the others as whole seconds pass."""
        self._tick()

    def arrived(self, protocol: str, body: bytes, noted: Mapping[bytes, bytes]) -> ServedRequest:
        """Numbers the request. It must be given to `answered` or `abandoned` once."""
        started = time.perf_counter()
        time_ms = self._clock.now_ms()
        traceparent = noted.get(b"traceparent")
        request = ServedRequest(
            id=request_id(noted),
            seq=self._ledger.arrive(time_ms),
            time_ms=time_ms,
            started=started,
            protocol=protocol,
            body=body,
            encoded=noted.get(b"content-encoding", b"identity") != b"identity",
            binary=noted.get(b"inference-header-content-length"),
            traceparent=traceparent.decode("latin-1") if traceparent else None,
        )
        self.captured.note(request, noted)
        return request

    def answered(self, request: ServedRequest) -> None:
        """To be called when the answer has been sent: the record is made in a later turn of the loop."""
        request.body = b""
        if not self._pending:
            self._loop.call_soon(self._drain)
        self._pending.append(request)

    def abandoned(self, request: ServedRequest, reason: str) -> None:
        """No answer was given and there will be no record. reason: one of capture.DROP_REASONS."""
        _log.warning("record_dropped id=%s reason=%s", request.id, reason)
        self._ledger.drop(reason)

    def missed(self, reason: str) -> None:
        """Something was served of which too little is known for a record. reason: one of capture.DROP_REASONS."""
        self._ledger.arrive(self._clock.now_ms())
        self._ledger.drop(reason)

    async def close(self, timeout_s: float) -> None:
        """
        The last records, then the last heartbeat. What Kafka does not take within timeout_s goes to the spool; without
        one it becomes dropped.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._drain()
        if await self._destination.flush(timeout_s):
            await self._destination.give_up()
        now_ms = self._clock.now_ms()
        self._ledger.tick(now_ms)
        self._publish_heartbeats()
        # It counts what arrived before its time, and something may have arrived in this very millisecond.
        self._publish_heartbeat(Boundary(now_ms + 1, self._ledger.seq), final=True)
        if await self._destination.flush(min(timeout_s, 2.0)):
            await self._destination.give_up()
        await self._destination.close()
        account = self._ledger.account()
        _log.info(
            "stopped served=%d acknowledged=%d dropped=%s sampled_out=%d spooled=%d",
            account.served,
            account.acknowledged,
            dict(account.dropped),
            account.sampled_out,
            account.spooled,
        )

    def _tick(self) -> None:
        self._timer = self._loop.call_later(POLL_S, self._tick)
        self._destination.poll()
        self._ledger.tick(self._clock.now_ms())
        self._publish_heartbeats()

    def _drain(self) -> None:
        pending, self._pending = self._pending, []
        for request in pending:
            self._record(request)

    def _record(self, request: ServedRequest) -> None:
        try:
            weight = self.captured.weight(request)
            if not weight:
                self._leave_out(request)
                return
            record = enrich(request, self._identity, self.captured, weight=weight)
            record, data = encode_within(record, self.captured.record_bytes)
        except TypeError:
            self.abandoned(request, "not_encodable")
            return
        except Exception as error:  # noqa: BLE001
            # The error's own text may quote a value.
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("record_failed id=%s error=%s at=\n%s", request.id, type(error).__name__, where)
            self.abandoned(request, "internal_error")
            return
        self._destination.publish(request.id, data)
        if request.scored is not None and True in request.scored.outlier:
            self._destination.publish_outlier(request.id, data)
        self._metrics.count_served(request)
        if record.issues:
            self._metrics.count_issues(record.issues)

    def _leave_out(self, request: ServedRequest) -> None:
        self._ledger.leave_out()
        self._metrics.count_served(request)
        if request.issues:
            self._metrics.count_issues(request.issues)

    def _publish_heartbeats(self) -> None:
        for boundary in self._ledger.take_due():
            self._publish_heartbeat(boundary)

    def _publish_heartbeat(self, boundary: Boundary, *, final: bool = False) -> None:
        beat = heartbeat(boundary, self._identity, self._ledger.account(), final=final)
        self._destination.publish_heartbeat(self._identity.key, encode_heartbeat(beat))
