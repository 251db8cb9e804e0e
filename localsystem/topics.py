"""Kafka topics made, and read from their beginning by a client that has nothing to do with ours."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from localsystem.errors import LocalSystemError
from tidegauge.kafka_spec import Topic, Topics

_ANSWER_WITHIN_S: Final = 10.0
_MESSAGE_BYTES: Final = 4_100_000
"""As long as the records of large requests may be; brokers take 1 MB by default."""

_silent: Final = logging.getLogger("localsystem.topics.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False
"""librdkafka would write each refused connection to stderr while the broker starts."""


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    key: bytes
    value: bytes
    partition: int
    read_at_s: float
    """Wall time at which it was read, seconds since the epoch."""


def answers(bootstrap_servers: str) -> bool:
    """Whether a broker serves its metadata within a second."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers}, logger=_silent)
    try:
        return bool(admin.list_topics(timeout=1.0).brokers)
    except KafkaException:
        return False


def create_topics(bootstrap_servers: str, wanted: Topics) -> None:
    """Makes those that do not exist. Raises LocalSystemError."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers}, logger=_silent)
    topics = [
        NewTopic(topic.name, topic.partitions, topic.replication, config={"max.message.bytes": str(_MESSAGE_BYTES)})
        for topic in all_of(wanted)
    ]
    futures = admin.create_topics(topics, operation_timeout=_ANSWER_WITHIN_S)
    for name, future in futures.items():
        try:
            future.result(_ANSWER_WITHIN_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise LocalSystemError(f"cannot create topic {name} on {bootstrap_servers}: {error}") from error


def all_of(wanted: Topics) -> list[Topic]:
    return [
        wanted.inference,
        wanted.outliers,
        wanted.statistics,
        wanted.drift,
        wanted.alerts,
        wanted.dead_letter,
    ]


class Reader:
    """All partitions of some topics from the first message on. Not thread-safe."""

    def __init__(self, bootstrap_servers: str, names: Iterable[str]) -> None:
        self._consumer: Any = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "tidegauge-reader",  # the client asks for one; nothing is committed to it
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
            },
            logger=_silent,
        )
        self._consumer.assign([partition for name in names for partition in self._partitions(name)])

    def _partitions(self, name: str) -> list[TopicPartition]:
        metadata = self._consumer.list_topics(name, timeout=_ANSWER_WITHIN_S).topics[name]
        if metadata.error is not None:
            raise LocalSystemError(f"cannot read topic {name}: {metadata.error}")
        return [TopicPartition(name, number, 0) for number in metadata.partitions]

    def read(self, *, within_s: float) -> list[Message]:
        """What has come, at most 1000 messages, waiting `within_s` for a first one. Raises LocalSystemError."""
        messages = []
        for message in self._consumer.consume(1000, within_s):
            if message.error() is not None:
                raise LocalSystemError(f"cannot read topic {message.topic()}: {message.error()}")
            key, value = message.key() or b"", message.value() or b""
            messages.append(Message(message.topic(), key, value, message.partition(), time.time()))
        return messages

    def read_all(self, *, within_s: float) -> Iterator[Message]:
        """Messages as they come, until `within_s` have passed."""
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            yield from self.read(within_s=min(left, 0.2))

    def close(self) -> None:
        self._consumer.close()
