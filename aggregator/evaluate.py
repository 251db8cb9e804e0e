"""Closed windows and late rows turned into what is published: reports, verdicts, accounts of what came too late."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Final, NamedTuple, Protocol

import orjson

from aggregator.catalogue import Catalogue
from aggregator.progress import Progress, WindowKey
from aggregator.told import told_of_report
from aggregator.windows import Closed, Step
from tidegauge.alerts import AlertState
from tidegauge.alerts import step as alerted
from tidegauge.memory import MonitorMemory, correct, remember_all
from tidegauge.monitor import ModelMonitor
from tidegauge.report import WindowReport
from tidegauge.verdict import Case, judge_all
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

AT_ONCE: Final = 64
"""Windows that are judged together: with more, memory grows and the time for each does not fall."""


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


class Stepped(NamedTuple):
    """One monitor's step, and what its verdicts remember."""

    monitor: str
    step: Step
    memories: Memories


def outputs_of(steps: Sequence[Stepped], catalogue: Catalogue) -> Iterator[Output]:
    """
    Of several monitors, a step each: a report and a drift verdict per closed window with what the log and the metrics
    tell of it, the alerts they give rise to, a provisional report per window under way, and one account per window that
    rows came too late for. Each window is judged by what those of its monitor before it have left in the memories, so
    the outputs must be taken in order, to the end.
    """
    dockets = [_Docket(stepped, catalogue) for stepped in steps]
    # The first closed window of each, then the second of each that has one: what is judged at once may not depend on
    # each other.
    for turn in zip_longest(*(docket.closed for docket in dockets)):
        yield from _judged([(docket, one) for docket, one in zip(dockets, turn, strict=True) if one is not None])
    yield from _provisional([(docket, one) for docket in dockets for one in docket.under_way])
    for docket in dockets:
        docket.remembered.save()
        yield from docket.late()


def _judged(windows: Sequence[tuple[_Docket, Closed]]) -> Iterator[Output]:
    """Of different monitors."""
    for start in range(0, len(windows), AT_ONCE):
        some = windows[start : start + AT_ONCE]
        cases = []
        for docket, closed in some:
            case = docket.case(closed)
            if case is None:
                yield docket.unjudged(closed)
            else:
                cases.append((docket, closed, case))
        reports = judge_all([case for *_, case in cases])
        memories = remember_all([case.memory or MonitorMemory() for *_, case in cases], reports)
        for (docket, closed, _), report, memory in zip(cases, reports, memories, strict=True):
            yield from docket.concluded(closed, report, memory)


def _provisional(windows: Sequence[tuple[_Docket, Closed]]) -> Iterator[Output]:
    """Nothing is remembered of them, so they cost nothing and alarm nobody."""
    for start in range(0, len(windows), AT_ONCE):
        cases = [case for docket, one in windows[start : start + AT_ONCE] if (case := docket.case(one)) is not None]
        for report in judge_all(cases):
            yield Output(PROVISIONAL, None, report.key, report.encode("provisional"))


class _Docket:
    """What one monitor's step has to be judged, and what becomes of it."""

    def __init__(self, stepped: Stepped, catalogue: Catalogue) -> None:
        self._name, self._step, memories = stepped
        self._catalogue, self._monitor = catalogue, catalogue.monitors.get(stepped.monitor)
        self.closed, self.under_way = self._step.closed, self._step.under_way
        self.remembered = _Remembered(memories)
        self._served = _by_window(self.closed)

    def case(self, closed: Closed) -> Case | None:
        """None where the monitor or its baseline was replaced while the window was open."""
        key, profile = closed.key, self._catalogue.profile(closed.key.baseline)
        if self._monitor is None or profile is None:
            return None
        memory, _ = self.remembered.of(key)
        return Case(self._monitor, profile, key.version, key.window, closed.summary, closed.revision, memory)

    def unjudged(self, closed: Closed) -> Output:
        reason = "window_without_baseline"
        return _account(self._name, closed.key, self._catalogue, reason=reason, records=_requests(closed))

    def concluded(self, closed: Closed, report: WindowReport, memory: MonitorMemory) -> Iterator[Output]:
        """memory: with this window in it, were it not a corrected one."""
        assert self._monitor is not None, "without a monitor nothing is judged"
        before, alerts = self.remembered.of(closed.key)
        if closed.revision:
            report, memory = correct(before, report, judged=alerts.has_judged(report))
        alerts, told = alerted(alerts, report, self._monitor.alerts)
        self.remembered.put(closed.key, memory, alerts)
        yield from _published(self._with_versus(closed, report), self._monitor)
        for alert in told:
            yield Output(ALERT, self._monitor.kafka.topics.alerts.name, alert.id, orjson.dumps(alert.to_document()))

    def late(self) -> Iterator[Output]:
        for late in self._step.late:
            ever = self._step.progress.late_records
            counts = {"records": late.records, "late_records_ever": ever}
            yield _account(self._name, late.key, self._catalogue, reason="late", **counts)

    def _with_versus(self, closed: Closed, report: WindowReport) -> WindowReport:
        """Where another version served as well: the monitor's, or else the one with the most requests."""
        monitor, profile = self._monitor, report.profile
        served = self._served[closed.key.window, closed.key.baseline]
        if len(served) == 1 or monitor is None or profile is None:
            return report
        stable = max(served, key=lambda one: (one.key.version == monitor.model.version, _requests(one)))
        if stable is closed or not _requests(stable):
            return report
        summaries = {"stable": stable.summary, "canary": closed.summary}
        versus = compare_versions(monitor=monitor, profile=profile, version=stable.key.version, **summaries)
        return replace(report, versus=versus)


def _by_window(closed: Iterable[Closed]) -> dict[tuple[Window, str], list[Closed]]:
    together: dict[tuple[Window, str], list[Closed]] = {}
    for one in closed:
        together.setdefault((one.key.window, one.key.baseline), []).append(one)
    return together


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
    topics = monitor.kafka.topics
    yield Output(REPORT, topics.statistics.name, report.key, report.encode())
    yield Output(DRIFT, topics.drift.name, report.key, report.encode("drift"))
    yield Output(CLOSED, None, report.key, orjson.dumps(told_of_report(report)))


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
