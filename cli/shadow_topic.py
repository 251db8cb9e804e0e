"""A shadow monitor that a running aggregator takes up: its file, its topics, its traffic, and what is said of it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import yaml
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cli.drill_findings import Findings
from cli.shadow import Injected, Shadow, Traffic
from tidegauge.errors import InvalidBaseline
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.secret_refs import MissingSecret

TAKEN_UP_WITHIN_S: Final = 90.0
"""An aggregator looks at its files every 2 s and begins its query anew, which takes 5 to 20 s."""

PROBE_S: Final = 3.0
"""From one attempt to be heard to the next. What comes too soon becomes a dead letter."""

LONG_AGO_MS: Final = 86_400_000
"""Probes are of a window so long ago that it has nothing to do with the drill's."""

TURN_S: Final = 0.2
ANSWER_WITHIN_S: Final = 15.0
LATEST_REPORT_S: Final = 60.0
"""After the end of the last window, its watermark included: an aggregator that is so slow has not found it."""

SUFFIX: Final = ".drill"
"""Of the shadow's topics. They stay, since an aggregator that has read a topic keeps reading it."""

_TOPICS: Final = ("inference", "statistics", "drift", "alerts", "deadLetter")

_silent: Final = logging.getLogger("cli.shadow_topic.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def shadow_document(document: Mapping[str, Any], monitor: ModelMonitor, name: str) -> dict[str, Any]:
    """document: the monitor's, as it was read. On topics of its own, and nobody is told of its alerts."""
    topics = monitor.kafka.topics
    parsed = (topics.inference, topics.statistics, topics.drift, topics.alerts, topics.dead_letter)
    spec = dict(document["spec"])
    given = spec["kafka"].get("topics", {})
    named = {key: {**given.get(key, {}), "name": of.name + SUFFIX} for key, of in zip(_TOPICS, parsed, strict=True)}
    spec["kafka"] = {**spec["kafka"], "topics": {**given, **named}}
    spec["alerts"] = {key: value for key, value in spec.get("alerts", {}).items() if key != "webhooks"}
    return {**document, "metadata": {**document["metadata"], "name": name}, "spec": spec}


class Deployed:
    """The drill with the aggregator that runs. path: of the monitor's file; the shadow's is put beside it."""

    def __init__(self, path: Path, monitor: ModelMonitor, baseline: str, *, name: str) -> None:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        self._document = shadow_document(document, monitor, name)
        self._monitor = parse_monitor(self._document)
        self._baseline = baseline
        self._file = path.parent / f"{name}.yaml"

    def run(
        self,
        traffic: Traffic,
        injected: Callable[[int], Injected],
        findings: Callable[[int], Findings],
        *,
        unchanged: int,
        within: int,
    ) -> Findings:
        """
        unchanged: windows before the change, told at once with times that are past. What follows comes at the pace at
        which it came. Raises InvalidBaseline when no broker answers, or no aggregator.
        """
        with ExitStack() as stack:
            line = stack.enter_context(_line(self._monitor))
            stack.callback(self._file.unlink, missing_ok=True)
            self._write()
            self._wait_until_heard(line, traffic)
            from_ms = _now_ms()
            duration_ms = self._monitor.windows.duration_ms
            start_ms = from_ms - from_ms % duration_ms - unchanged * duration_ms
            shadow = Shadow(traffic, self._monitor, self._baseline, start_ms=start_ms, injected=injected(from_ms))
            found = findings(from_ms)
            self._serve(line, shadow, found, within)
            line.send([shadow.heartbeat(_now_ms(), final=True)])
            return found

    def _write(self) -> None:
        unseen = self._file.with_name(f".{self._file.stem}")
        unseen.write_text("# of tidegauge drill, which takes it away\n" + yaml.safe_dump(self._document))
        unseen.rename(self._file)

    def _wait_until_heard(self, line: Line, traffic: Traffic) -> None:
        """Two heartbeats make a window that is over; a report on it says that somebody listens."""
        windows = self._monitor.windows
        deadline = time.monotonic() + TAKEN_UP_WITHIN_S
        while time.monotonic() < deadline:
            at_ms = _now_ms() - LONG_AGO_MS
            at_ms -= at_ms % windows.duration_ms
            probe = Shadow(traffic, self._monitor, self._baseline, start_ms=at_ms, injected=_NOTHING)
            after_ms = at_ms + windows.duration_ms + windows.watermark_ms + 1_000
            line.send([probe.heartbeat(at_ms), probe.heartbeat(after_ms, final=True)])
            next_s = time.monotonic() + PROBE_S
            while time.monotonic() < next_s:
                if any(True for _ in line.told()):
                    return
        raise InvalidBaseline(
            f"no aggregator has taken up {self._file} within {TAKEN_UP_WITHIN_S:.0f} s: start it with --monitor"
            f" {self._file.parent}, or judge here with --offline"
        )

    def _serve(self, line: Line, shadow: Shadow, found: Findings, within: int) -> None:
        windows = self._monitor.windows
        last_ms = found.from_ms + windows.duration_ms + within * windows.slide_ms
        deadline_ms = last_ms + windows.watermark_ms + LATEST_REPORT_S * 1000
        while found.changed < within and _now_ms() < deadline_ms:
            line.send(shadow.until(_now_ms()))
            for document in line.told():
                if document["kind"] == "alert":
                    found.told(document, _now_ms())
                else:
                    found.report(document, _now_ms())
            if found.verdict is not None and found.alert is not None:
                return


class Line:
    """To the aggregator and back. Raises InvalidBaseline when the broker does not answer."""

    def __init__(self, monitor: ModelMonitor, producer: Any, consumer: Any) -> None:
        self._monitor, self._producer, self._consumer = monitor, producer, consumer

    def send(self, messages: Iterable[bytes]) -> None:
        """In order, to one partition: a single worker's event time."""
        for message in messages:
            while True:
                try:
                    self._producer.produce(self._monitor.kafka.topics.inference.name, message, partition=0)
                    break
                except BufferError:
                    self._producer.poll(TURN_S)
        if self._producer.flush(ANSWER_WITHIN_S):
            raise InvalidBaseline(f"{self._monitor.kafka.bootstrap_servers} has stopped answering")

    def told(self) -> Iterator[dict[str, Any]]:
        """Verdicts and alerts on the shadow that have come, waiting a moment for a first one."""
        for message in self._consumer.consume(500, TURN_S):
            if message.error() is not None:
                if message.error().fatal():
                    raise InvalidBaseline(f"cannot read {message.topic()}: {message.error()}")
                continue
            document = orjson.loads(message.value() or b"{}")
            if document.get("monitor") == self._monitor.name:
                yield document


@contextmanager
def _line(monitor: ModelMonitor) -> Iterator[Line]:
    """Its topics are there, and what is said on them from now on is heard."""
    servers = monitor.kafka.bootstrap_servers
    consumer: Any = None
    try:
        options = monitor.kafka.security.client_options(os.environ, lambda path: Path(path).read_bytes())
        options |= {"bootstrap.servers": servers}
        _create_topics(AdminClient(options, logger=_silent), monitor)
        group = {"group.id": "tidegauge-drill", "enable.auto.commit": False}  # nothing is committed to it
        consumer = Consumer(options | group, logger=_silent)
        consumer.assign([part for topic in _answers(monitor) for part in _ends(consumer, topic)])
        yield Line(monitor, Producer(options | {"enable.idempotence": True}, logger=_silent), consumer)
    except KafkaException as error:
        raise InvalidBaseline(f"{servers}: {error.args[0].str()}") from error
    except MissingSecret as error:
        raise InvalidBaseline(f"spec.kafka.security.sasl.password: {error}") from error
    finally:
        if consumer is not None:
            consumer.close()


def _answers(monitor: ModelMonitor) -> tuple[str, str]:
    return monitor.kafka.topics.drift.name, monitor.kafka.topics.alerts.name


def _create_topics(admin: Any, monitor: ModelMonitor) -> None:
    of = monitor.kafka.topics
    wanted = {topic.name: topic for topic in (of.inference, of.statistics, of.drift, of.alerts, of.dead_letter)}
    made = admin.create_topics([NewTopic(topic.name, 1, topic.replication) for topic in wanted.values()])
    for future in made.values():
        try:
            future.result(ANSWER_WITHIN_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _ends(consumer: Any, topic: str) -> list[TopicPartition]:
    numbers = consumer.list_topics(topic, timeout=ANSWER_WITHIN_S).topics[topic].partitions
    parts = [TopicPartition(topic, number) for number in numbers]
    for part in parts:
        part.offset = consumer.get_watermark_offsets(part, timeout=ANSWER_WITHIN_S)[1]
    return parts


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_NOTHING: Final = Injected(0, list, 0)
