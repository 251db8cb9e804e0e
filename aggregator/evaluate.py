"""Closed windows and late rows turned into what is published: reports, verdicts, accounts of what came too late."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol

import orjson

from aggregator.catalogue import Catalogue
from aggregator.progress import Progress, WindowKey
from aggregator.told import told_of_report
from aggregator.windows import Closed, Late, Step
from tidegauge.alerts import AlertState
from tidegauge.alerts import step as alerted
from tidegauge.baseline import BaselineProfile
from tidegauge.memory import MonitorMemory, correct, remember
from tidegauge.monitor import ModelMonitor
from tidegauge.report import WindowReport
from tidegauge.verdict import judge
from tidegauge.versus import compare_versions
from tidegauge.windows import Window

REPORT: Final = "report"
DRIFT: Final = "drift"
ALERT: Final = "alert"
DEAD_LETTER: Final = "dead_letter"
LATE: Final = "late"
TALLY: Final = "tally"
PROVISIONAL: Final = "provisional"
STATE: Final = "state"
CLOSED: Final = "closed"

TOLD_MS: Final = 10_000
"""From one account of a monitor's state to the next."""


class Output(NamedTuple):
    """
    kind: one of the above. topic: Kafka topic, None for what is only logged. key: names the output for good, so that a
    repetition can be told from news. value: a JSON object.
    """

    kind: str
    topic: str | None
    key: str
    value: bytes


class Memories(Protocol):
    """What one monitor's verdicts remember: (model version, baseline) -> encoded MonitorMemory."""

    def get(self, version: str, baseline: str) -> bytes | None: ...
    def put(self, version: str, baseline: str, memory: bytes) -> None: ...


def outputs_of(step: Step, monitor: str, catalogue: Catalogue, memories: Memories) -> Iterator[Output]:
    """
    A report and a drift verdict per closed window with what the log and the metrics tell of it, the alerts they give
    rise to, a provisional report per window under way, and one account per window that rows came too late for. Each
    window is judged by what those before it have left in the memories, so the outputs must be taken in order, to the
    end.
    """
    known = catalogue.monitors.get(monitor)
    served, remembered = _by_window(step.closed), _Remembered(memories)
    for closed in step.closed:
        profile = catalogue.profile(closed.key.baseline)
        if known is None or profile is None:
            yield _unjudged(monitor, closed, catalogue)
            continue
        stable = _stable(closed, served[closed.key.window, closed.key.baseline], known)
        yield from _judged(closed, stable, known, profile, remembered)
    for under_way in step.under_way:
        profile = catalogue.profile(under_way.key.baseline)
        if known is not None and profile is not None:
            yield _provisional(under_way, known, profile, remembered)
    remembered.save()
    for late in step.late:
        yield _late(monitor, late, step.progress.late_records, catalogue)


def _by_window(closed: Iterable[Closed]) -> dict[tuple[Window, str], list[Closed]]:
    together: dict[tuple[Window, str], list[Closed]] = {}
    for one in closed:
        together.setdefault((one.key.window, one.key.baseline), []).append(one)
    return together


def _stable(closed: Closed, served: Sequence[Closed], monitor: ModelMonitor) -> Closed | None:
    """What a version is compared with: the monitor's, where that served, else the one with the most requests."""
    stable = max(served, key=lambda one: (one.key.version == monitor.model.version, _requests(one)))
    return stable if stable is not closed and _requests(stable) else None


def _judged(
    closed: Closed, stable: Closed | None, monitor: ModelMonitor, profile: BaselineProfile, remembered: _Remembered
) -> Iterator[Output]:
    key, summary = closed.key, closed.summary
    memory, alerts = remembered.of(key)
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
    if stable is not None:
        report = replace(
            report,
            versus=compare_versions(
                monitor=monitor, profile=profile, version=stable.key.version, stable=stable.summary, canary=summary
            ),
        )
    remembered.put(key, memory, alerts)
    yield from _published(report, monitor)
    for alert in told:
        yield Output(ALERT, monitor.kafka.topics.alerts.name, alert.id, orjson.dumps(alert.to_document()))


class _Remembered:
    """The memories during one step: each is decoded once and encoded once, however many windows are judged by it."""

    def __init__(self, memories: Memories) -> None:
        self._memories = memories
        self._known: dict[tuple[str, str], tuple[MonitorMemory, AlertState]] = {}
        self._changed: set[tuple[str, str]] = set()

    def of(self, key: WindowKey) -> tuple[MonitorMemory, AlertState]:
        name = key.version, key.baseline
        if name not in self._known:
            stored = self._memories.get(*name)
            memory = MonitorMemory() if stored is None else MonitorMemory.decode(stored)
            self._known[name] = memory, AlertState.from_document(memory.alerts)
        return self._known[name]

    def put(self, key: WindowKey, memory: MonitorMemory, alerts: AlertState) -> None:
        name = key.version, key.baseline
        self._known[name] = memory, alerts
        self._changed.add(name)

    def save(self) -> None:
        for name in sorted(self._changed):
            memory, alerts = self._known[name]
            self._memories.put(*name, replace(memory, alerts=alerts.to_document()).encode())


def _provisional(under_way: Closed, monitor: ModelMonitor, profile: BaselineProfile, remembered: _Remembered) -> Output:
    """Nothing is remembered of it, so it costs nothing and alarms nobody."""
    key = under_way.key
    memory, _ = remembered.of(key)
    report = judge(
        monitor=monitor,
        profile=profile,
        version=key.version,
        window=key.window,
        summary=under_way.summary,
        memory=memory,
    )
    return Output(PROVISIONAL, None, report.key, orjson.dumps(report.to_document() | {"kind": PROVISIONAL}))


def state_told(monitor: str, progress: Progress, now_ms: int) -> Output:
    """How much the state of one monitor holds, and how far its event time is behind the clock; for the log."""
    latest_ms = progress.latest_ms or 0
    document = {
        "monitor": monitor,
        "event_time_ms": latest_ms,
        "lag_ms": now_ms - latest_ms,
        "open_windows": sum(not held.closed for held in progress.windows.values()),
        "kept_windows": sum(held.closed for held in progress.windows.values()),
        "state_bytes": sum(held.size_bytes for held in progress.windows.values()),
        "workers": len(progress.workers),
        "late_records": progress.late_records,
    }
    return Output(STATE, None, monitor, orjson.dumps(document))


def tally(reasons: Mapping[str, int]) -> Iterator[Output]:
    """How many dead letters a micro-batch has, by reason; for the log."""
    for reason, count in sorted(reasons.items()):
        yield Output(TALLY, None, reason, orjson.dumps({"reason": reason, "count": count}))


def _published(report: WindowReport, monitor: ModelMonitor) -> Iterator[Output]:
    document = report.to_document()
    topics = monitor.kafka.topics
    yield Output(REPORT, topics.statistics.name, report.key, orjson.dumps(document))
    yield Output(DRIFT, topics.drift.name, report.key, orjson.dumps(_without_statistics(document)))
    yield Output(CLOSED, None, report.key, orjson.dumps(told_of_report(document)))


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
