"""A stretch of the inference topic as a source of reference rows. The Kafka end of `tidegauge baseline`."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tidegauge.blocks import Block
from tidegauge.errors import InvalidBaseline, InvalidRecord
from tidegauge.features import FeatureSchema, coerce_rows
from tidegauge.monitor import ModelMonitor
from tidegauge.records import Heartbeat, InferenceRecord, decode
from tidegauge.secret_refs import MissingSecret

LATEST_ARRIVAL_MS: Final = 600_000
"""A record may reach Kafka this long after its request; one still later is not part of a stretch that ends."""

_ANSWER_WITHIN_S: Final = 15.0
_MESSAGES: Final = 1000

_silent: Final = logging.getLogger("cli.topic.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False
"""librdkafka would write every attempt to connect to stderr; what went wrong is said in one line."""


@dataclass(frozen=True)
class Stretch:
    """Records whose requests arrived in [since_ms, until_ms), UTC epoch; until_ms None: up to now."""

    since_ms: int
    until_ms: int | None = None

    def has(self, time_ms: int) -> bool:
        return self.since_ms <= time_ms and (self.until_ms is None or time_ms < self.until_ms)


@dataclass
class TopicSource:
    """
    See tidegauge.blocks.Source. Rows come partition after partition, so that they come in the same order each time.
    skipped: after a reading, how many records of the stretch were of no use, by reason.
    """

    monitor: ModelMonitor
    schema: FeatureSchema
    stretch: Stretch
    baseline: str
    """Content id of the profile that `schema` is of: records of another may have other features."""
    prediction_schema: FeatureSchema | None = None
    skipped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        with self._consumer() as consumer:
            self._parts = self._offsets(consumer)

    def blocks(self) -> Iterator[Block]:
        """Raises InvalidBaseline when the broker does not answer."""
        self.skipped = Counter()
        for _, messages, share in self.messages():
            rows = [row for message in messages for row in self._rows(message.value() or b"")]
            if rows:
                yield Block(np.ascontiguousarray(coerce_rows(rows, self.schema).matrix.T), share=share)

    def messages(self) -> Iterator[tuple[int, list[Any], float]]:
        """
        All that may be of the stretch: the partition, some of its messages, and the share that has been read. Raises as
        `blocks` does.
        """
        whole, read = max(sum(end - start for _, start, end in self._parts), 1), 0
        with self._consumer() as consumer:
            for partition, start, end in self._parts:
                for messages in self._messages(consumer, partition, (start, end)):
                    read += len(messages)
                    yield partition, messages, min(1.0, read / whole)

    def records(self) -> Iterator[InferenceRecord]:
        """Those of use, partition after partition. Raises as `blocks` does."""
        self.skipped = Counter()
        for _, messages, _ in self.messages():
            found = (self._usable(message.value() or b"") for message in messages)
            yield from (record for record in found if record is not None)

    def _rows(self, message: bytes) -> Sequence[Sequence[object]]:
        record = self._usable(message)
        return () if record is None else record.features or ()

    def _usable(self, message: bytes) -> InferenceRecord | None:
        try:
            record = decode(message)
        except InvalidRecord as error:
            self.skipped[f"unreadable: {error.reason}"] += 1
            return None
        if isinstance(record, Heartbeat) or not self.stretch.has(record.time_ms):
            return None
        why = self._useless(record)
        if why:
            self.skipped[why] += 1
            return None
        return record

    def _useless(self, record: InferenceRecord) -> str | None:
        if (record.monitor, record.namespace) != (self.monitor.name, self.monitor.namespace):
            return "of another monitor"
        if record.baseline != self.baseline:
            return "scored with another baseline"
        if not record.features:
            return "without features"
        return "not answered with 200" if record.status != 200 else None

    def _offsets(self, consumer: Any) -> list[tuple[int, int, int]]:
        """(partition, first offset, offset after the last) of all that may be in the stretch."""
        name = self.monitor.kafka.topics.inference.name
        topic = consumer.list_topics(name, timeout=_ANSWER_WITHIN_S).topics[name]
        if topic.error is not None:
            raise InvalidBaseline(f"cannot read topic {name}: {topic.error}")
        numbers = sorted(topic.partitions)
        starts = _first_after(consumer, name, numbers, self.stretch.since_ms)
        latest = None if self.stretch.until_ms is None else self.stretch.until_ms + LATEST_ARRIVAL_MS
        ends = dict.fromkeys(numbers, -1) if latest is None else _first_after(consumer, name, numbers, latest)
        parts = []
        for number in numbers:
            low, high = consumer.get_watermark_offsets(TopicPartition(name, number), timeout=_ANSWER_WITHIN_S)
            start = max(starts[number], low) if starts[number] >= 0 else high
            end = ends[number] if ends[number] >= 0 else high
            if start < end:
                parts.append((number, start, end))
        return parts

    def _messages(self, consumer: Any, partition: int, offsets: tuple[int, int]) -> Iterator[list[Any]]:
        name, (start, end) = self.monitor.kafka.topics.inference.name, offsets
        consumer.assign([TopicPartition(name, partition, start)])
        deadline = time.monotonic() + _ANSWER_WITHIN_S
        while start < end:
            messages = []
            for message in consumer.consume(_MESSAGES, 0.5):
                error = message.error()
                if error is None:
                    start = message.offset() + 1
                    if message.offset() < end:
                        messages.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    start = end
                else:
                    raise InvalidBaseline(f"cannot read topic {name}: {error}")
            if messages:
                deadline = time.monotonic() + _ANSWER_WITHIN_S
                yield messages
            elif start < end and time.monotonic() > deadline:
                raise InvalidBaseline(f"topic {name}: {self.monitor.kafka.bootstrap_servers} has stopped answering")

    @contextmanager
    def _consumer(self) -> Iterator[Any]:
        servers = self.monitor.kafka.bootstrap_servers
        try:
            consumer = Consumer(
                self.monitor.kafka.security.client_options(os.environ, lambda path: Path(path).read_bytes())
                | {
                    "bootstrap.servers": servers,
                    "group.id": "tidegauge-baseline",  # the client asks for one; nothing is committed to it
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "earliest",
                },
                logger=_silent,
            )
        except (KafkaException, ValueError, MissingSecret) as error:
            raise InvalidBaseline(f"cannot read from {servers}: {error}") from error
        try:
            yield consumer
        except KafkaException as error:
            raise InvalidBaseline(f"cannot read from {servers}: {error.args[0].str()}") from error
        finally:
            consumer.close()


def _first_after(consumer: Any, name: str, partitions: Sequence[int], time_ms: int) -> dict[int, int]:
    """Per partition the offset of the first message from this time on; below 0 where there is none."""
    asked = [TopicPartition(name, number, time_ms) for number in partitions]
    return {found.partition: found.offset for found in consumer.offsets_for_times(asked, timeout=_ANSWER_WITHIN_S)}
