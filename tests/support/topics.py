"""Messages read from a broker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

from confluent_kafka import Consumer, TopicPartition

from tests.support.schemas import validate
from tidegauge.records import InferenceRecord, decode


def record_of(broker: str, topic: str, request_id: str, within_s: float = 20.0) -> InferenceRecord:
    """The record of this request, which fits its schema."""
    return records_of(broker, topic, [request_id], within_s)[request_id]


def records_of(
    broker: str, topic: str, request_ids: Iterable[str], within_s: float = 20.0
) -> dict[str, InferenceRecord]:
    """The records of these requests, which fit their schema."""
    found: dict[str, InferenceRecord] = {}
    wanted = {request_id.encode() for request_id in request_ids}
    deadline = time.monotonic() + within_s
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "tests", "log_level": 0})
    try:
        for key, value in _messages(consumer, topic, deadline):
            if key in wanted:
                validate("inference-record.v1", json.loads(value))
                record = decode(value)
                assert isinstance(record, InferenceRecord)
                found[record.id] = record
                wanted.remove(key)
            if not wanted:
                return found
    finally:
        consumer.close()
    raise AssertionError(f"no record of {wanted} on {topic} within {within_s} s")


def _messages(consumer: Consumer, topic: str, deadline: float) -> Iterator[tuple[bytes, bytes]]:
    partitions: list[int] = []
    while not partitions and time.monotonic() < deadline:  # the first message makes the topic
        partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    while time.monotonic() < deadline:
        yield from ((m.key(), m.value()) for m in consumer.consume(500, 0.1) if m.error() is None)
