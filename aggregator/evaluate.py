"""Closed windows and late rows turned into what is published: reports, verdicts, accounts of what came too late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol

import orjson

from aggregator.catalogue import Catalogue
from aggregator.progress import WindowKey
from aggregator.windows import Closed, Late, Step
from tidegauge.alerts import AlertState
from tidegauge.alerts import step as alerted
from tidegauge.baseline import BaselineProfile
from tidegauge.memory import MonitorMemory, correct, remember
from tidegauge.monitor import ModelMonitor
from tidegauge.report import WindowReport
from tidegauge.verdict import judge

REPORT: Final = "report"
DRIFT: Final = "drift"
ALERT: Final = "alert"
DEAD_LETTER: Final = "dead_letter"
LATE: Final = "late"
TALLY: Final = "tally"


class Output(NamedTuple):
    """
    kind: one of the above. topic: Kafka topic, None for what is only logged. key: names the output for good, so that a
    repetition can be told from news. value: a JSON object.
    """

    kind: str
    topic: str | None
    key: str
    value: bytes


OUTPUT_COLUMNS: Final = "kind string, topic string, key string, value binary"


class Memories(Protocol):
    """What one monitor's verdicts remember: (model version, baseline) -> encoded MonitorMemory."""

    def get(self, version: str, baseline: str) -> bytes | None: ...
    def put(self, version: str, baseline: str, memory: bytes) -> None: ...


def outputs_of(step: Step, monitor: str, catalogue: Catalogue, memories: Memories) -> Iterator[Output]:
    """
    A report and a drift verdict per closed window, the alerts they give rise to, and one account per window that rows
    came too late for. Each window is judged by what those before it have left in the memories, so the outputs must be
    taken in order, to the end.
    """
    known = catalogue.monitors.get(monitor)
    for closed in step.closed:
        profile = catalogue.profile(closed.key.baseline)
        if known is None or profile is None:
            yield _unjudged(monitor, closed, catalogue)
            continue
        yield from _judged(closed, known, profile, memories)
    for late in step.late:
        yield _late(monitor, late, step.progress.late_records, catalogue)


def _judged(closed: Closed, monitor: ModelMonitor, profile: BaselineProfile, memories: Memories) -> Iterator[Output]:
    key, summary = closed.key, closed.summary
    stored = memories.get(key.version, key.baseline)
    memory = MonitorMemory() if stored is None else MonitorMemory.decode(stored)
    alerts = AlertState.from_document(memory.alerts)
    report = judge(
        monitor=monitor,
        profile=profile,
        version=key.version,
        window=key.window,
        summary=summary,
        revision=closed.revision,
        memory=memory,
    )
    if closed.revision:
        report, memory = correct(memory, report, judged=alerts.has_judged(report))
    else:
        memory = remember(memory, report)
    alerts, told = alerted(alerts, report, monitor.alerts)
    memories.put(key.version, key.baseline, replace(memory, alerts=alerts.to_document()).encode())
    yield from _published(report, monitor)
    for alert in told:
        yield Output(ALERT, monitor.kafka.topics.alerts.name, alert.id, orjson.dumps(alert.to_document()))


def tally(reasons: Mapping[str, int]) -> Iterator[Output]:
    """How many dead letters a micro-batch has, by reason; for the log."""
    for reason, count in sorted(reasons.items()):
        yield Output(TALLY, None, reason, orjson.dumps({"reason": reason, "count": count}))


def _published(report: WindowReport, monitor: ModelMonitor) -> Iterator[Output]:
    document = report.to_document()
    topics = monitor.kafka.topics
    yield Output(REPORT, topics.statistics.name, report.key, orjson.dumps(document))
    yield Output(DRIFT, topics.drift.name, report.key, orjson.dumps(_without_statistics(document)))


def _without_statistics(document: Mapping[str, Any]) -> dict[str, Any]:
    features = [{name: value for name, value in f.items() if name != "statistics"} for f in document["features"]]
    whole = {name: value for name, value in document.items() if name != "statistics"}
    return {**whole, "kind": DRIFT, "features": features}


def _unjudged(monitor: str, closed: Closed, catalogue: Catalogue) -> Output:
    """The monitor or its baseline was replaced while the window was open."""
    return _account(monitor, closed.key, catalogue, reason="window_without_baseline", records=_requests(closed))


def _late(monitor: str, late: Late, total: int, catalogue: Catalogue) -> Output:
    return _account(monitor, late.key, catalogue, reason="late", records=late.records, late_records_ever=total)


def _requests(closed: Closed) -> int:
    return closed.summary.requests.requests


def _account(monitor: str, key: WindowKey, catalogue: Catalogue, *, reason: str, **counts: int) -> Output:
    account = {
        "v": 1,
        "kind": LATE if reason == "late" else DEAD_LETTER,
        "reason": reason,
        "monitor": monitor,
        "version": key.version,
        "baseline": key.baseline,
        "window": {"start_ms": key.start_ms, "end_ms": key.end_ms, "duration_ms": key.window.duration_ms},
        **counts,
    }
    known = catalogue.monitors.get(monitor)
    topic = known.kafka.topics.dead_letter.name if known else catalogue.dead_letter_topic("")
    name = "/".join((monitor, key.version, key.baseline[:12], str(key.start_ms), str(key.window.duration_ms), reason))
    # Rows may come late for one window several times: the running total tells the accounts apart.
    suffix = f"/{counts['late_records_ever']}" if "late_records_ever" in counts else ""
    return Output(LATE, topic, name + suffix, orjson.dumps(account))
