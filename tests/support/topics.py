"""Messages read from a broker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from confluent_kafka import Consumer, TopicPartition

from tests.support.schemas import validate
from tidegauge.records import InferenceRecord, decode


def record_of(broker: str, topic: str, request_id: str, within_s: float = 20.0) -> InferenceRecord:
    """The record of this request, which fits its schema."""
    deadline = time.monotonic() + within_s
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "tests", "log_level": 0})
    try:
        for key, value in _messages(consumer, topic, deadline):
            if key == request_id.encode():
                validate("inference-record.v1", json.loads(value))
                record = decode(value)
                assert isinstance(record, InferenceRecord)
                return record
    finally:
        consumer.close()
    raise AssertionError(f"no record of {request_id} on {topic} within {within_s} s")


def _messages(consumer: Consumer, topic: str, deadline: float) -> Iterator[tuple[bytes, bytes]]:
    partitions: list[int] = []
    while not partitions and time.monotonic() < deadline:  # the first message makes the topic
        partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    while time.monotonic() < deadline:
        yield from ((m.key(), m.value()) for m in consumer.consume(500, 0.1) if m.error() is None)
