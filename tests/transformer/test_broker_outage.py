"""Kafka away for a minute under load, and processes that end meanwhile: predictions go on, and no record is lost."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, count
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml

from localsystem.broker import Broker
from localsystem.system import LocalSystem
from localsystem.topics import Reader
from tests.support.waiting import wait_until
from tidegauge.baseline import BaselineProfile
from tidegauge.kafka_spec import Topic, Topics
from tidegauge.records import Heartbeat, InferenceRecord, decode

OUTAGE_S = 60.0
CLIENTS = 4
A_CONNECTION = 50
"""Requests on one connection: whichever worker takes a connection keeps it, and all workers are to have a share."""

WITHIN_S = 60.0
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n" + b'{"predictions": [1]}'


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    with LocalSystem(tmp_path_factory.mktemp("system")) as system:
        system.prepare()
        yield system


@pytest.fixture
def kafka(system: LocalSystem) -> Broker:
    broker = system.start_broker()
    broker.wait_until_ready()
    system.create_topics(broker, Topics())
    return broker


@pytest.fixture
def start(
    kafka: Broker,
    tmp_path: Path,
    profile: BaselineProfile,
    constant_predictor: Any,
    threaded_stub: Callable[..., Any],
    start_program: Callable[..., Any],
) -> Callable[..., Any]:
    """(workers) -> a running transformer with a spool, the same one each time."""
    constant_predictor.says = ANSWER
    host = f"127.0.0.1:{threaded_stub(constant_predictor).port}"
    (tmp_path / "baseline.json").write_bytes(profile.dump())
    document = {
        "apiVersion": "tidegauge.io/v1alpha1",
        "kind": "ModelMonitor",
        "metadata": {"name": "sums"},
        "spec": {
            "model": {"name": "sums"},
            "baseline": {"file": "baseline.json"},
            "kafka": {"bootstrapServers": kafka.bootstrap_servers},
            "transformer": {"spool": {"directory": str(tmp_path / "spool"), "maxBytes": "1Gi"}},
        },
    }
    monitor = tmp_path / "monitor.yaml"
    monitor.write_text(yaml.safe_dump(document))

    def run(workers: int = 1) -> Any:
        arguments = ("--monitor", str(monitor), "--predictor_host", host, "--workers", str(workers))
        return start_program("transformer", *arguments, ready="transformer serving", times=workers)

    return run


@dataclass
class Load:
    """Clients that ask until they are stopped, and remember what they were answered."""

    port: int
    statuses: Counter[int] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def stop(self, threads: list[threading.Thread]) -> None:
        self._stopped.set()
        for thread in threads:
            thread.join(WITHIN_S)
            assert not thread.is_alive()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        for number in count():
            if self._stopped.is_set():
                break
            if number % A_CONNECTION == 0:
                connection.close()
            name = uuid4().hex
            self.ids.add(name)
            self.statuses[ask(connection, name)] += 1
            self._stopped.wait(0.005)  # some 500 requests/s together
        connection.close()


def ask(connection: http.client.HTTPConnection, name: str) -> int:
    connection.request("POST", "/v1/models/sums:predict", b'{"instances": [[1, 2, 3]]}', {"x-request-id": name})
    response = connection.getresponse()
    response.read()
    return response.status


def served_by(port: int, number: int) -> list[str]:
    """Names of so many requests, all answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    names = [uuid4().hex for _ in range(number)]
    assert {ask(connection, name) for name in names} == {200}
    connection.close()
    return names


def metrics(program: Any) -> dict[str, float]:
    text = httpx.get(program.url + "/metrics", timeout=20).text
    return {name: float(value) for name, value in re.findall(r"^(tidegauge_[^ ]+) (\S+)$", text, re.MULTILINE)}


def settled(program: Any) -> bool:
    now = metrics(program)
    return now["tidegauge_records_in_flight"] == now["tidegauge_records_spooled"] == now["tidegauge_spool_records"] == 0


def read(broker: Broker, enough: Callable[[list[InferenceRecord], list[Heartbeat]], bool]) -> dict[int, list[Any]]:
    """Messages of the inference topic by partition, once there are enough of them."""
    found: dict[int, list[Any]] = defaultdict(list)
    reader = Reader(broker.bootstrap_servers, [Topic("tidegauge.inference").name])
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        for message in reader.read(within_s=0.5):
            found[message.partition].append(decode(message.value))
        everything = [message for messages in found.values() for message in messages]
        records = [message for message in everything if isinstance(message, InferenceRecord)]
        if enough(records, [message for message in everything if isinstance(message, Heartbeat)]):
            break
    reader.close()
    return found


def overtaken_by(seqs: list[int]) -> int:
    """
    The largest distance to a number that stands earlier but is greater. Records follow each other as their answers do,
    so one may be overtaken by those that were served at the same time, and by no others.
    """
    return max(latest - seq for seq, latest in zip(seqs, accumulate(seqs, max), strict=True))


def records_in(found: dict[int, list[Any]]) -> list[InferenceRecord]:
    return [message for messages in found.values() for message in messages if isinstance(message, InferenceRecord)]


def test_a_minute_without_kafka_under_load_loses_nothing(kafka: Broker, start: Callable[..., Any]) -> None:
    program = start(workers=2)
    load = Load(program.port)
    threads = load.run()
    try:
        acknowledged = 'tidegauge_records_total{outcome="acknowledged",reason=""}'
        wait_until(lambda: metrics(program)[acknowledged] > 500, within_s=WITHIN_S, what="records arrive")
        kafka.process.kill()
        away_since = time.monotonic()
        wait_until(
            lambda: time.monotonic() - away_since > OUTAGE_S,
            within_s=OUTAGE_S + 10,
            what=f"Kafka is away for {OUTAGE_S:.0f} s",
        )
        assert metrics(program)["tidegauge_records_spooled"] > 1_000
        kafka = kafka.run_again()
        kafka.wait_until_ready()
        wait_until(
            lambda: metrics(program)["tidegauge_records_spooled"] == 0,
            within_s=WITHIN_S,
            what="the disk is empty although traffic goes on",
        )
    finally:
        load.stop(threads)
    wait_until(lambda: settled(program), within_s=WITHIN_S, what="all records have ended")

    assert set(load.statuses) == {200}
    after = metrics(program)
    assert after["tidegauge_served_total"] == after[acknowledged] == len(load.ids)
    assert [name for name in after if "dropped" in name] == []
    found = read(kafka, lambda records, _: len(records) >= len(load.ids))
    records = records_in(found)
    assert Counter(record.id for record in records) == Counter(load.ids)
    assert len({record.incarnation for record in records}) == 2
    for messages in found.values():
        by_incarnation: dict[str, list[int]] = defaultdict(list)
        for record in messages:
            if isinstance(record, InferenceRecord):
                by_incarnation[record.incarnation].append(record.seq)
        assert max(map(overtaken_by, by_incarnation.values())) < CLIENTS


def test_what_processes_leave_on_disk_is_sent_by_the_next_one(kafka: Broker, start: Callable[..., Any]) -> None:
    kafka.process.kill()

    asked_to_stop = start()
    names = served_by(asked_to_stop.port, 30)
    assert asked_to_stop.stop() == 0

    killed = start()
    names += served_by(killed.port, 30)
    spooled = "tidegauge_records_spooled"
    wait_until(
        lambda: bool(names.extend(served_by(killed.port, 1))) or metrics(killed)[spooled] > 20,
        within_s=WITHIN_S,
        what="records go to disk",
    )
    on_disk = metrics(killed)[spooled]
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait(10)

    kafka = kafka.run_again()
    kafka.wait_until_ready()
    last = start()
    inherited = 'tidegauge_inherited_records_total{outcome="acknowledged",reason=""}'
    wait_until(
        lambda: metrics(last).get(inherited, 0) >= 30 + on_disk and settled(last),
        within_s=WITHIN_S,
        what="what was on disk is sent",
    )
    found = read(kafka, lambda records, _: len(records) >= 30 + on_disk)
    assert set(names[:30]) <= {record.id for record in records_in(found)} <= set(names)
    assert set(Counter(record.id for record in records_in(found)).values()) == {1}
    first = records_in(found)[0].incarnation
    finals = [message for of in found.values() for message in of if isinstance(message, Heartbeat) and message.final]
    assert [(beat.seq, beat.account.spooled) for beat in finals] == [(30, 30)]
    assert finals[0].incarnation in {record.incarnation for record in records_in(found) if record.id in names[:30]}
    assert first
    assert json.dumps(last.output).count("spool_taken_up") == 2


def test_any_worker_answers_for_all_of_them(kafka: Broker, start: Callable[..., Any]) -> None:
    program = start(workers=2)
    for _ in range(20):  # each on a connection of its own
        served_by(program.port, 1)

    def all_say(total: int) -> Callable[[], bool]:
        return lambda: {metrics(program)["tidegauge_served_total"] for _ in range(10)} == {float(total)}

    wait_until(all_say(20), within_s=WITHIN_S, what="both know of all requests")
    wait_until(lambda: settled(program), within_s=WITHIN_S, what="all records have ended")
    workers = {int(pid) for pid in re.findall(r"transformer serving .* pid=(\d+)", "".join(program.output))}
    assert len(workers) == 2
    os.kill(min(workers), signal.SIGKILL)
    wait_until(
        lambda: "".join(program.output).count("transformer serving") == 3,
        within_s=WITHIN_S,
        what="another takes its place",
    )
    served_by(program.port, 5)
    wait_until(all_say(25), within_s=WITHIN_S, what="what the killed one counted stays counted")
