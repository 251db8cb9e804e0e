from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from transformer import publisher
from transformer.capture import DROP_REASONS, Ledger
from transformer.publisher import InvalidKafka, Publisher


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(0)


def publisher_to(address: str, ledger: Ledger, **options: Any) -> Publisher:
    return Publisher(
        address,
        inference_topic="inference",
        outliers_topic="outliers",
        on_acknowledged=ledger.acknowledge,
        on_dropped=ledger.drop,
        options={key.replace("_", "."): value for key, value in options.items()},
    )


def read_topic(address: str, topic: str, number: int) -> list[tuple[bytes, bytes]]:
    """The first messages of a topic, by a client that shares nothing with the publisher."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "t", "log_level": 0})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    messages: list[tuple[bytes, bytes]] = []
    deadline = time.monotonic() + 15
    while len(messages) < number and time.monotonic() < deadline:
        messages += [(m.key(), m.value()) for m in consumer.consume(100, 0.2) if m.error() is None]
    consumer.close()
    return messages


def test_every_record_arrives_and_is_acknowledged(broker: str, ledger: Ledger) -> None:
    sender = publisher_to(broker, ledger)
    for number in range(50):
        sender.publish(f"id-{number}", b"record %d" % ledger.arrive(0))
    sender.publish_outlier("id-7", b"record 8")
    sender.publish_heartbeat("pod/1", b"heartbeat")
    assert asyncio.run(sender.flush(15)) == 0
    account = ledger.account()
    assert (account.acknowledged, dict(account.dropped), account.in_flight) == (50, {}, 0)
    expected = {(b"id-%d" % n, b"record %d" % (n + 1)) for n in range(50)} | {(b"pod/1", b"heartbeat")}
    assert set(read_topic(broker, "inference", 51)) == expected
    assert read_topic(broker, "outliers", 1) == [(b"id-7", b"record 8")]


def test_a_full_queue_drops_counts_and_never_waits(ledger: Ledger) -> None:
    sender = publisher_to("127.0.0.1:1", ledger, queue_buffering_max_messages=10)
    started = time.monotonic()
    for _ in range(200):
        ledger.arrive(0)
        sender.publish("id", b"record")
    assert time.monotonic() - started < 1.0
    assert ledger.account().dropped == {"queue_full": 190}
    assert ledger.account().balances()


def test_what_a_dead_broker_does_not_take_in_time_is_dropped(ledger: Ledger) -> None:
    sender = publisher_to("127.0.0.1:1", ledger, delivery_timeout_ms=200)
    ledger.arrive(0)
    sender.publish("id", b"record")
    assert asyncio.run(sender.flush(15)) == 0
    assert ledger.account().dropped == {"timed_out": 1}


def test_what_is_left_at_the_end_is_dropped_as_stopped(ledger: Ledger) -> None:
    sender = publisher_to("127.0.0.1:1", ledger)
    for _ in range(3):
        ledger.arrive(0)
        sender.publish("id", b"record")
    assert asyncio.run(sender.flush(0.05)) == 3
    asyncio.run(sender.give_up())
    assert ledger.account().dropped == {"stopped": 3}
    assert ledger.account().in_flight == 0


def test_a_record_beyond_the_size_limit_is_dropped(broker: str, ledger: Ledger) -> None:
    sender = publisher_to(broker, ledger)
    ledger.arrive(0)
    sender.publish("id", bytes(5_000_000))
    assert ledger.account().dropped == {"record_too_large": 1}


def test_every_reason_is_listed() -> None:
    assert {*publisher._REASONS.values(), "rejected", "producer_failed"} <= set(DROP_REASONS)


def test_a_configuration_that_the_client_refuses_is_said_so(ledger: Ledger) -> None:
    with pytest.raises(InvalidKafka):
        publisher_to("127.0.0.1:1", ledger, acks="some")
