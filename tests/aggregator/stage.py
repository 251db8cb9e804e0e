"""An aggregator process on a real broker, what is sent to it, and what it must say of that."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml
from confluent_kafka import Producer

from localsystem.broker import Broker
from localsystem.system import AGGREGATOR_READY_LINE, AGGREGATOR_READY_WITHIN_S, Aggregator, LocalSystem
from localsystem.topics import Reader
from tests.aggregator.doors import START_MS, Message, encode, heartbeat, profile, traffic
from tests.support.examples import monitor_document
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

    def __init__(self, system: LocalSystem, broker: Broker, monitors: Path, more: Sequence[str] = ()) -> None:
        """more: arguments of the aggregator."""
        self.system, self.broker, self.monitors, self._more = system, broker, monitors, more
        self._started = 0
        self._aggregator: Aggregator | None = None
        self._producer = Producer({"bootstrap.servers": broker.bootstrap_servers})

    def start(self) -> Aggregator:
        """Ready, and the one that runs where one does. All that were started write to one log."""
        if self._aggregator is not None and self._aggregator.process.is_running():
            return self._aggregator
        aggregator = self.start_again()
        aggregator.process.wait_until(
            lambda: aggregator.process.log.read_text().count(AGGREGATOR_READY_LINE) == self._started,
            within_s=AGGREGATOR_READY_WITHIN_S,
            what="ready",
        )
        return aggregator

    def start_again(self) -> Aggregator:
        """Without waiting for it."""
        self._started += 1
        self._aggregator = self.system.start_aggregator(monitor_file=self.monitors, more=self._more)
        return self._aggregator

    def stop(self) -> None:
        """Before the broker, which may have been started after it: it would wait for one that is gone."""
        if self._aggregator is not None:
            self._aggregator.process.stop()

    def send(self, topics: Topics, messages: Sequence[Message], monitor: str) -> None:
        """
        In the order of time, to all partitions. No second before the one before it is in Kafka: a micro-batch that
        begins right then would find partitions further apart than the watermark, and rightly correct its reports.
        """
        second = 0
        for at, message in enumerate(messages):
            if message.time_ms // 1_000 > second:
                assert self._producer.flush(30) == 0
                second = message.time_ms // 1_000
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

    def served(self, monitor: str) -> list[dict[str, Any]]:
        """Reports on windows with requests."""
        return [report for report in self.reports(monitor) if report["requests"]]

    def starts(self, monitor: str) -> list[int]:
        return [report["window"]["start_ms"] for report in self.reports(monitor)]


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


def expected() -> list[tuple[Any, ...]]:
    return [counted(offline(window)) for window in WINDOWS]
