"""A real broker starts, takes records and goes; and when it cannot start, it says why."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from confluent_kafka import Producer

from localsystem.errors import PartFailed
from localsystem.ports import HOST
from localsystem.processes import session_members
from localsystem.system import LocalSystem
from localsystem.topics import Reader, all_of
from tidegauge.kafka_spec import Topics


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
