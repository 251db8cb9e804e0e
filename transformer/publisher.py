"""
Encoded records handed to Kafka: an idempotent producer behind a bounded queue. Only this module and what continues it
for records on disk (spooled.py) know a client.

Nothing here blocks. Delivery reports are taken up by `poll`, which the owner calls from its event loop many times a
second: librdkafka does its work in threads of its own, and reports taken up by a Python thread would make requests wait
for the interpreter lock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from transformer.spool_file import COPY, HEARTBEAT, RECORD

QUEUE_MESSAGES: Final = 100_000
QUEUE_KBYTES: Final = 128 * 1024
"""
Bound of the queue, whichever is reached first. A record of one row and 30 features has some 1.2 kB, so this holds 100 s
of a broker's absence at 1,000 requests/s, in 128 MiB.
"""
MESSAGE_BYTES: Final = 4_000_000
DELIVERY_TIMEOUT_MS: Final = 300_000
LINGER_MS: Final = 20

_LOG_INTERVAL_S: Final = 30.0

_REASONS: Final = {
    KafkaError._MSG_TIMED_OUT: "timed_out",
    KafkaError._TIMED_OUT: "timed_out",
    KafkaError.MSG_SIZE_TOO_LARGE: "record_too_large",
    KafkaError._QUEUE_FULL: "queue_full",
    KafkaError._PURGE_QUEUE: "stopped",
    KafkaError._PURGE_INFLIGHT: "stopped",
    KafkaError._FATAL: "producer_failed",
}

_log = logging.getLogger("transformer.publisher")


class InvalidKafka(Exception):
    """The client refuses the configuration."""


class Publisher:
    """
    on_acknowledged, on_dropped(reason of capture.DROP_REASONS): called once per record, from within `publish`, `poll`
    or `close`. Copies and heartbeats are not reported.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        inference_topic: str,
        outliers_topic: str,
        on_acknowledged: Callable[[], None],
        on_dropped: Callable[[str], None],
        options: dict[str, Any] | None = None,
    ) -> None:
        """Raises InvalidKafka. A broker that cannot be reached is no error: records wait in the queue."""
        self._topics = {RECORD: inference_topic, COPY: outliers_topic, HEARTBEAT: inference_topic}
        self._on_acknowledged, self._on_dropped = on_acknowledged, on_dropped
        self._record_report = self._record_reported  # bound once: there is one call a request
        self._reports = {RECORD: self._record_reported, COPY: self._copy_reported, HEARTBEAT: self._heartbeat_reported}
        self._logged: dict[str, float] = {}
        try:
            self._producer = Producer(self._configuration(bootstrap_servers) | (options or {}))
        except (KafkaException, ValueError, TypeError) as error:
            raise InvalidKafka(str(error)) from error

    def publish(self, key: str, record: bytes) -> None:
        try:
            self._producer.produce(self._topics[RECORD], record, key, on_delivery=self._record_report)
        except BufferError:
            self._overflowed(RECORD, key, record)
        except KafkaException as error:
            self._not_sent(RECORD, reason_of(error.args[0]), str(error))

    def publish_outlier(self, key: str, record: bytes) -> None:
        """A copy for the outliers topic; the record itself is accounted for on the inference topic."""
        self._send(COPY, key, record)

    def publish_heartbeat(self, key: str, heartbeat: bytes) -> None:
        self._send(HEARTBEAT, key, heartbeat)

    def poll(self) -> None:
        """Takes up the delivery reports that have come."""
        self._producer.poll(0)

    @property
    def waiting(self) -> int:
        """Messages without a report."""
        return len(self._producer)

    async def flush(self, timeout_s: float) -> int:
        """Waits until everything was reported on, or the time is over; returns what is left."""
        deadline = time.monotonic() + timeout_s
        while self._producer.poll(0) or len(self._producer):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.005)
        return len(self._producer)

    async def give_up(self) -> None:
        """What is still under way becomes dropped: "stopped"."""
        self._purge()

    async def close(self) -> None:
        """After the last of all."""

    def _purge(self) -> None:
        self._producer.purge()
        self._producer.flush(1.0)

    def _configuration(self, bootstrap_servers: str) -> dict[str, Any]:
        return {
            "bootstrap.servers": bootstrap_servers,
            "client.id": "tidegauge-transformer",
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": LINGER_MS,
            "compression.type": "lz4",
            "queue.buffering.max.messages": QUEUE_MESSAGES,
            "queue.buffering.max.kbytes": QUEUE_KBYTES,
            "message.max.bytes": MESSAGE_BYTES,
            "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
            # librdkafka writes a line for every attempt to connect; errors come through error_cb, where we count time.
            "log_level": 2,
            "error_cb": self._error,
        }

    def _send(self, kind: int, key: str, value: bytes) -> None:
        try:
            self._producer.produce(self._topics[kind], value, key, on_delivery=self._reports[kind])
        except BufferError:
            self._overflowed(kind, key, value)
        except KafkaException as error:
            self._not_sent(kind, reason_of(error.args[0]), str(error))

    def _overflowed(self, kind: int, _key: str, _value: bytes) -> None:
        self._not_sent(kind, "queue_full", "the queue is full")

    def _not_sent(self, kind: int, reason: str, why: str) -> None:
        if kind == RECORD:
            self._drop(reason, why)
        else:
            self._say("not_sent", self._topics[kind], why)

    def _record_reported(self, error: KafkaError | None, _message: Any) -> None:
        if error is None:
            self._on_acknowledged()
        else:
            self._drop(reason_of(error), error.str())

    def _copy_reported(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._say("not_delivered", message.topic(), error)

    def _heartbeat_reported(self, error: KafkaError | None, message: Any) -> None:
        self._copy_reported(error, message)

    def _drop(self, reason: str, why: str) -> None:
        self._on_dropped(reason)
        self._say("record_dropped", reason, why)

    def _error(self, error: KafkaError) -> None:
        self._say("kafka_error", error.name(), error.str())

    def _say(self, event: str, kind: str, why: object) -> None:
        now = time.monotonic()
        if now - self._logged.get(event + kind, -_LOG_INTERVAL_S) >= _LOG_INTERVAL_S:
            self._logged[event + kind] = now
            _log.warning("%s kind=%s why=%s (said once in %.0f s)", event, kind, why, _LOG_INTERVAL_S)


def reason_of(error: KafkaError) -> str:
    return "producer_failed" if error.fatal() else _REASONS.get(error.code(), "rejected")
