"""The Kafka sink against librdkafka's broker in the process; a real one is in tests/aggregator/test_process.py."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from aggregator.brokers import Brokers
from aggregator.courier import Refused, SinkFailed
from aggregator.evaluate import REPORT, Output
from aggregator.sinks import kafka
from aggregator.sinks.kafka import LARGEST_BYTES, KafkaSink


@pytest.fixture
def host() -> Producer:
    return Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 0})


def servers(host: Producer) -> str:
    return ",".join(f"{b.host}:{b.port}" for b in host.list_topics(timeout=10).brokers.values())


def keys(broker: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "t", "log_level": 0})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    found = consumer.consume(count, 20)
    consumer.close()
    return sorted(message.key() for message in found)


def test_what_has_a_topic_is_sent_there_and_what_is_too_long_is_refused_alone(host: Producer) -> None:
    broker = servers(host)
    long = Output(REPORT, "reports", "long", b"x" * (LARGEST_BYTES + 1))
    sink = KafkaSink(Brokers(broker))
    with pytest.raises(Refused, match="MSG_SIZE_TOO_LARGE") as refused:
        sink.write([Output(REPORT, "reports", "a", b"1"), Output(REPORT, None, "b", b"2"), long])
    sink.write([Output(REPORT, "reports", "c", b"3")])
    sink.idle()
    sink.close()
    assert refused.value.outputs == [long]
    assert keys(broker, "reports", 2) == [b"a", b"c"]


def test_nobody_there_is_a_failure_that_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "MESSAGE_TIMEOUT_S", 1)
    sink = KafkaSink(Brokers("127.0.0.1:1"))
    with pytest.raises(SinkFailed, match="1 of 1 not acknowledged: _MSG_TIMED_OUT"):
        sink.write([Output(REPORT, "reports", "a", b"1")])
    sink.close()
