"""Outputs to their Kafka topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from aggregator.brokers import Brokers, silent
from aggregator.courier import Refused, SinkFailed
from aggregator.evaluate import Output

LARGEST_BYTES: Final = 8 << 20
"""Before compression. Reports on 300 features take about 1 MB, Kafka's default, and a fourth of it once compressed."""

MESSAGE_TIMEOUT_S: Final = 20
"""An attempt ends after it; the next one begins with a new producer."""

_HOPELESS: Final = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD)


class KafkaSink:
    """
    Each output on its topic under its key, in order, acknowledged by all in-sync replicas. What is written again comes
    twice with the same key and content: readers tell it by that.
    """

    name: Final = "kafka"

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._producer: Any = None

    def write(self, outputs: Sequence[Output]) -> None:
        undelivered: list[tuple[Output, KafkaError]] = []
        sent = [output for output in outputs if output.topic is not None]
        for output in sent:
            self._produce(output, undelivered)
        if sent:
            self._flush()
        hopeless = [output for output, error in undelivered if error.code() in _HOPELESS]
        if len(hopeless) < len(undelivered):
            self._drop_producer()
            error = next(error for _, error in undelivered if error.code() not in _HOPELESS)
            raise SinkFailed(f"{len(undelivered)} of {len(sent)} not acknowledged: {error.name()}")
        if hopeless:
            raise Refused(undelivered[0][1].name(), hopeless)

    def idle(self) -> None:
        if self._producer is not None:
            self._producer.poll(0)

    def close(self) -> None:
        self._drop_producer()

    def _produce(self, output: Output, undelivered: list[tuple[Output, KafkaError]]) -> None:
        def told(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                undelivered.append((output, error))

        producer = self._connected()
        while True:
            try:
                producer.produce(output.topic, output.value, output.key, on_delivery=told)
                return
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                undelivered.append((output, error.args[0]))
                return

    def _flush(self) -> None:
        left = self._connected().flush(MESSAGE_TIMEOUT_S + 5)
        if left:
            self._drop_producer()
            raise SinkFailed(f"{left} messages not acknowledged in time")

    def _connected(self) -> Any:
        if self._producer is None:
            self._producer = Producer(
                {
                    **self._brokers.client_options,
                    "bootstrap.servers": self._brokers.bootstrap_servers,
                    "enable.idempotence": True,  # and so acks=all
                    "compression.type": "lz4",
                    "linger.ms": 2,
                    "message.max.bytes": LARGEST_BYTES,
                    "message.timeout.ms": MESSAGE_TIMEOUT_S * 1000,
                    "queue.buffering.max.kbytes": 65_536,
                },
                logger=silent,
            )
        return self._producer

    def _drop_producer(self) -> None:
        """One that has failed may have a fatal error for good."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.poll(0)
            self._producer = None
