"""
Messages of one partition between two offsets, in a worker of Spark.

Read here and not by Spark's JVM, which would hand every message over through Arrow and a socket: that took more time
than all of the fold's arithmetic.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from aggregator.brokers import PATIENCE_S, silent
from aggregator.errors import SourceFailed
from aggregator.fold import Messages
from aggregator.offsets import Stretch

AT_ONCE: Final = 2_000
"""Messages that are handed on together: they stay in the processor's caches until they are folded."""

POLL_S: Final = 0.5

OPTIONS: Final[Mapping[str, Any]] = {
    "group.id": "tidegauge-aggregator",  # demanded by the client; offsets are kept in Spark's checkpoint alone
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 50,
    # What is read ahead of a stretch's end is read in vain.
    "queued.max.messages.kbytes": 4096,
    "fetch.queue.backoff.ms": 5,
}

_consumers: Final[dict[tuple[tuple[str, str], ...], Consumer]] = {}
"""At most one: to connect takes longer than to read a small stretch, and Spark's workers live on."""


def read_stretch(options: Mapping[str, str], stretch: Stretch) -> Iterator[Messages]:
    """options: of the client, with bootstrap.servers. Raises SourceFailed."""
    consumer = _consumer(options)
    consumer.assign([TopicPartition(stretch.topic, stretch.partition, stretch.start)])
    try:
        yield from _messages(consumer, stretch)
    finally:
        consumer.unassign()


def _consumer(options: Mapping[str, str]) -> Consumer:
    key = tuple(sorted(options.items()))
    if key not in _consumers:
        for other in _consumers.values():
            other.close()
        _consumers.clear()
        _consumers[key] = Consumer({**OPTIONS, **options}, logger=silent)
    return _consumers[key]


def _messages(consumer: Consumer, stretch: Stretch) -> Iterator[Messages]:
    at, source = stretch.start, str(stretch)
    deadline, why = time.monotonic() + PATIENCE_S, "no error was told"
    while at < stretch.end:
        taken = consumer.consume(min(AT_ONCE, stretch.end - at), POLL_S)
        events = [message for message in taken if message.error() is not None]
        messages = [message for message in taken if message.error() is None] if events else taken
        offsets = [message.offset() for message in messages]
        inside = bisect.bisect_left(offsets, stretch.end)
        if inside:
            yield Messages([source] * inside, offsets[:inside], [message.value() for message in messages[:inside]])
        if offsets:
            at, deadline = offsets[-1] + 1, time.monotonic() + PATIENCE_S
        for event in events:
            at, why = max(at, _ended_at(event, stretch)), event.error().str()
        if time.monotonic() > deadline:
            raise SourceFailed(f"{source}: nothing came from offset {at} on for {PATIENCE_S:.0f} s: {why}")


def _ended_at(event: Message, stretch: Stretch) -> int:
    """
    The offset at which the partition ends, where the event says so: the last ones of a stretch may have no message, as
    transactions' markers and what was compacted.
    """
    if event.error().code() == KafkaError._AUTO_OFFSET_RESET:
        raise SourceFailed(
            f"{stretch}: messages from offset {stretch.start} on were deleted before they were read; to go on without"
            " them, start with an empty --checkpoint"
        )
    return int(event.offset()) if event.error().code() == KafkaError._PARTITION_EOF else 0
