"""A real broker starts, takes records and goes; and when it cannot start, it says why."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from localsystem.errors import PartFailed
from localsystem.ports import HOST
from localsystem.processes import session_members
from localsystem.system import LocalSystem
from localsystem.topics import Reader, all_of
from tests.support.waiting import wait_until
from tidegauge.kafka_spec import Topics

YEARS_AGO_MS = 1_500_000_000_000


@pytest.fixture
def system(tmp_path: Path) -> Iterator[LocalSystem]:
    with LocalSystem(tmp_path) as system:
        system.prepare()
        yield system


def test_a_record_sent_is_a_record_read(system: LocalSystem) -> None:
    broker = system.start_broker()
    broker.wait_until_ready()
    system.create_topics(broker, Topics())
    system.create_topics(broker, Topics())  # what exists already is left as it is
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce("tidegauge.inference", key=b"k", value=b"v")
    assert producer.flush(30) == 0

    reader = Reader(broker.bootstrap_servers, [topic.name for topic in all_of(Topics())])
    first = next(reader.read_all(within_s=30))
    reader.close()

    assert (first.topic, first.key, first.value) == ("tidegauge.inference", b"k", b"v")


def test_records_of_long_ago_stay(system: LocalSystem) -> None:
    broker = system.start_broker(
        more_properties={"log.initial.task.delay.ms": "100", "log.retention.check.interval.ms": "100"}
    )
    broker.wait_until_ready()
    system.create_topics(broker, Topics())
    hour = {"retention.ms": str(3_600_000)}
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic("kept-an-hour", 1, 1, config=hour)])["kept-an-hour"].result(30)
    kept, lost = TopicPartition("tidegauge.inference", 0), TopicPartition("kept-an-hour", 0)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for at in (kept, lost):
        producer.produce(at.topic, b"v", partition=at.partition, timestamp=YEARS_AGO_MS)
        assert producer.flush(30) == 0

    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "reads-offsets"})
    # The other topic's loss shows that the broker has looked for old records since both were sent.
    wait_until(
        lambda: consumer.get_watermark_offsets(lost, timeout=10) == (1, 1),
        within_s=60,
        what="the record that is kept an hour has gone",
    )
    first_and_end = consumer.get_watermark_offsets(kept, timeout=10)
    consumer.close()

    assert first_and_end == (0, 1)


def test_a_cluster_id_that_begins_with_a_hyphen_is_no_option(
    system: LocalSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Chance would bring one in 64 runs.
    monkeypatch.setattr("localsystem.broker.uuid.uuid4", lambda: UUID(bytes=bytes([0xF8, *range(15)])))
    system.start_broker()
    assert list(system.directory.rglob("meta.properties"))


def test_a_port_in_use_is_named_and_nothing_is_left(system: LocalSystem) -> None:
    with socket.create_server((HOST, 0)) as taken:
        broker = system.start_broker(port=taken.getsockname()[1])
        with pytest.raises(PartFailed, match=r"broker ended with exit code 1 .*Address already in use"):
            broker.wait_until_ready()
        system.processes.stop_all()

    assert session_members(broker.process.pid) == []
