"""
The process on a real broker, killed and started again: no window is lost, none is doubled, and all say what the kernel
says of the same messages.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from confluent_kafka import Producer
from typer.testing import CliRunner

from cli.main import app
from localsystem.broker import Broker
from localsystem.processes import session_members
from localsystem.system import AGGREGATOR_READY_LINE, AGGREGATOR_READY_WITHIN_S, Aggregator, LocalSystem
from localsystem.topics import Reader
from tests.aggregator.doors import START_MS, Message, encode, heartbeat, profile, traffic
from tests.support.examples import monitor_document
from tests.support.rooms import usual_records
from tests.support.waiting import wait_until
from tidegauge.kafka_spec import Topics
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.records import Heartbeat, InferenceRecord
from tidegauge.summaries.window_summary import summarise
from tidegauge.verdict import judge
from tidegauge.windows import Window

KILLS = int(os.environ.get("TIDEGAUGE_KILLS", "2"))
SECONDS = 20 * (KILLS + 1)
TRAFFIC = traffic(SECONDS)
END = heartbeat((SECONDS + 20) * 1_000, incarnation="i-2", seq=0)
WINDOWS = [Window(START_MS + at, START_MS + at + 5_000) for at in range(0, SECONDS * 1_000, 5_000)]


def monitor(name: str, broker: Broker) -> dict[str, Any]:
    windows = {"duration": "5s", "slide": "5s", "watermark": "2s", "lateness": "10s"}
    topics = {"inference": {"name": f"{name}.inference", "partitions": 3}}
    spec = {"kafka": {"bootstrapServers": broker.bootstrap_servers, "topics": topics}, "windows": windows}
    return monitor_document(**spec) | {"metadata": {"name": name}}


def add_monitor(directory: Path, name: str, broker: Broker, system: LocalSystem) -> ModelMonitor:
    parsed = parse_monitor(monitor(name, broker))
    system.create_topics(broker, parsed.kafka.topics)
    unseen = directory / f".{name}"
    unseen.write_text(yaml.safe_dump(monitor(name, broker)))
    unseen.rename(directory / f"{name}.yaml")
    return parsed


class Stage:
    """A broker, monitor files in a directory, and an aggregator that reads them."""

    def __init__(self, system: LocalSystem, broker: Broker, monitors: Path) -> None:
        self.system, self.broker, self.monitors = system, broker, monitors
        self._started = 0
        self._aggregator: Aggregator | None = None
        self._producer = Producer({"bootstrap.servers": broker.bootstrap_servers})

    def start(self) -> Aggregator:
        """Ready, and the one that runs where one does. All that were started write to one log."""
        if self._aggregator is not None and self._aggregator.process.is_running():
            return self._aggregator
        self._started += 1
        aggregator = self.system.start_aggregator(monitor_file=self.monitors)
        aggregator.process.wait_until(
            lambda: aggregator.process.log.read_text().count(AGGREGATOR_READY_LINE) == self._started,
            within_s=AGGREGATOR_READY_WITHIN_S,
            what="ready",
        )
        self._aggregator = aggregator
        return aggregator

    def stop(self) -> None:
        """Before the broker, which may have been started after it: it would wait for one that is gone."""
        if self._aggregator is not None:
            self._aggregator.process.stop()

    def send(self, topics: Topics, messages: Sequence[Message], monitor: str) -> None:
        for at, message in enumerate(messages):
            value = orjson.dumps(orjson.loads(encode(message)) | {"monitor": monitor})
            self._producer.produce(topics.inference.name, value, partition=at % 3)
        assert self._producer.flush(30) == 0

    def poison(self, topics: Topics) -> None:
        self._producer.produce(topics.inference.name, b'{"v": 1, "kind"', partition=0)
        assert self._producer.flush(30) == 0

    def dead_letters(self, topics: Topics) -> list[str]:
        """Why, of each that there is of this inference topic, once there is one."""
        reader = Reader(self.broker.bootstrap_servers, [topics.dead_letter.name])
        found: list[str] = []

        def is_there() -> bool:
            letters = [orjson.loads(message.value) for message in reader.read(within_s=1.0)]
            found.extend(one["reason"] for one in letters if one.get("topic") == topics.inference.name)
            return bool(found)

        try:
            wait_until(is_there, within_s=30, what="a dead letter")
        finally:
            reader.close()
        return found

    def reports(self, monitor: str) -> list[dict[str, Any]]:
        database = self.system.directory / "tidegauge.db"
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            statement = "SELECT document FROM reports WHERE monitor = ? ORDER BY window_start_ms, revision"
            rows = connection.execute(statement, (monitor,)).fetchall()
        connection.close()
        return [orjson.loads(document) for (document,) in rows]

    def starts(self, monitor: str) -> list[int]:
        return [report["window"]["start_ms"] for report in self.reports(monitor)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with LocalSystem(tmp_path_factory.mktemp("process")) as system:
        system.prepare()
        broker = system.start_broker()
        monitors = system.directory / "monitors"
        monitors.mkdir()
        (monitors / "doors.json").write_bytes(profile().dump())
        broker.wait_until_ready()
        add_monitor(monitors, "doors", broker, system)
        stage = Stage(system, broker, monitors)
        yield stage
        stage.stop()


def kill(aggregator: Aggregator) -> None:
    """-9, the driver and its JVM and workers at once."""
    for pid in session_members(aggregator.process.pid):
        with contextlib.suppress(ProcessLookupError):  # it went with one before it
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not aggregator.process.is_running(), within_s=10, what="the aggregator to be gone")


def offline(window: Window) -> dict[str, Any]:
    records = [m for m in TRAFFIC if isinstance(m, InferenceRecord) and window.start_ms <= m.time_ms < window.end_ms]
    beats = [m for m in TRAFFIC if isinstance(m, Heartbeat) and window.start_ms <= m.time_ms <= window.end_ms]
    known = parse_monitor(monitor_document(windows={"duration": "5s"}))
    summary = summarise(records, beats, profile())
    return judge(monitor=known, profile=profile(), version="1", window=window, summary=summary).to_document()


def counted(report: dict[str, Any]) -> tuple[Any, ...]:
    """What must be the same to the last digit, whatever has happened."""
    distances = {feature["name"]: feature["tests"]["jensen_shannon"]["effect"] for feature in report["features"]}
    return report["window"]["start_ms"], report["requests"], report["outliers"], report["completeness"], distances


@pytest.mark.timeout(300 + 60 * KILLS)
def test_killed_at_random_moments_no_window_is_lost_or_doubled_and_all_say_what_the_kernel_says(stage: Stage) -> None:
    chance = random.Random(7)
    topics = parse_monitor(monitor("doors", stage.broker)).kafka.topics
    pieces = KILLS + 1
    size = -(-len(TRAFFIC) // pieces)
    for piece in range(pieces):
        aggregator = stage.start()
        before = len(stage.reports("doors"))
        stage.send(topics, TRAFFIC[piece * size : (piece + 1) * size], "doors")
        if piece < KILLS:
            # Somewhere between the first window of what was sent and the last.
            wanted = before + chance.randrange(3)
            wait_until(lambda wanted=wanted: len(stage.reports("doors")) >= wanted, within_s=60, what="some windows")  # type: ignore[misc]
            kill(aggregator)
    stage.send(topics, [END], "doors")
    wait_until(lambda: len(stage.starts("doors")) > len(WINDOWS), within_s=90, what="the last window")
    reports = [report for report in stage.reports("doors") if report["requests"]]
    assert [report["revision"] for report in reports] == [0] * len(WINDOWS)
    assert [counted(report) for report in reports] == [counted(offline(window)) for window in WINDOWS]


def test_a_monitor_that_is_added_while_it_runs_is_served_and_the_others_go_on(stage: Stage) -> None:
    aggregator = stage.start()
    topics = add_monitor(stage.monitors, "gates", stage.broker, stage.system).kafka.topics
    stage.send(topics, [*traffic(10), heartbeat(20_000)], "gates")
    wait_until(lambda: len(stage.starts("gates")) >= 2, within_s=60, what="the new monitor's windows")
    assert stage.starts("gates")[:2] == [window.start_ms for window in WINDOWS[:2]]
    assert aggregator.process.is_running()
    assert aggregator.process.logged("monitors_changed")
    assert stage.starts("doors")[: len(WINDOWS)] == [window.start_ms for window in WINDOWS]


def test_a_drill_is_taken_up_found_and_let_go(stage: Stage) -> None:
    aggregator = stage.start()
    add_monitor(stage.monitors, "halls", stage.broker, stage.system)
    topics = parse_monitor(monitor("halls", stage.broker)).kafka.topics
    stage.send(topics, usual_records(2_400, start_ms=START_MS, every_ms=25), "halls")
    files = sorted(stage.monitors.iterdir())
    command = ["drill", "--monitor", str(stage.monitors / "halls.yaml"), "--since", "2023-11-01", "--json"]
    result = CliRunner().invoke(app, [*command, "--feature", "height", "--shift", "2"], catch_exceptions=False)
    found = orjson.loads(result.stdout)
    assert result.exit_code == 0, found
    assert found["judged"] == "deployed"
    assert found["windows"]["learnt"] == 6
    assert found["windows"]["before"] >= 6
    assert found["before"]["named"] == 0
    # It is in each row from its moment on: known when the window after that has ended, at the latest.
    assert found["verdict"]["windows"] <= 2
    assert found["verdict"]["seconds"] > found["watermark_seconds"]
    assert found["alert"]["windows"] >= found["verdict"]["windows"]
    assert sorted(stage.monitors.iterdir()) == files
    assert aggregator.process.is_running()


def test_a_broker_that_is_killed_costs_no_window_and_a_poisoned_record_is_one_dead_letter(stage: Stage) -> None:
    aggregator = stage.start()
    topics = add_monitor(stage.monitors, "lofts", stage.broker, stage.system).kafka.topics
    half = len(TRAFFIC) // 2
    stage.send(topics, TRAFFIC[:half], "lofts")
    aggregator.process.wait_until(lambda: len(stage.starts("lofts")) >= 2, within_s=60, what="done with some windows")
    stage.broker.process.kill()
    stage.broker = stage.broker.run_again()
    stage.broker.wait_until_ready()
    stage.poison(topics)
    stage.send(topics, [*TRAFFIC[half:], END], "lofts")
    aggregator.process.wait_until(
        lambda: len(stage.starts("lofts")) > len(WINDOWS), within_s=120, what="done with the last window"
    )
    reports = [report for report in stage.reports("lofts") if report["requests"]]
    assert [report["revision"] for report in reports] == [0] * len(WINDOWS)
    assert [counted(report) for report in reports] == [counted(offline(window)) for window in WINDOWS]
    assert stage.dead_letters(topics) == ["not_json"]
    assert aggregator.process.is_running()
