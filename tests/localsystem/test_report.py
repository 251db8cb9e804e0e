"""The report says what was seen and nothing better; whatever is missing is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localsystem.demo.plan import Schedule, Traffic
from localsystem.demo.replay import Progress
from localsystem.demo.report import Seen, make_report, problems, summary
from localsystem.demo.watch import SeenRecord, SeenReport
from tidegauge.records import Account
from tidegauge.scenarios import Scenario, Shift, Spread

START_MS = 1_800_000_000_000
SCHEDULE = Schedule(traffic_s=20, drift_after_s=10, rate=1)


def window(number: int, *, drifted: tuple[str, ...] = (), seen: int = 5, served: int | None = 5) -> SeenReport:
    start_ms = START_MS + 5000 * number
    document: dict[str, Any] = {
        "window": {"start_ms": start_ms, "end_ms": start_ms + 5000},
        "completeness": {"seen": seen, "served": served},
        "features": [{"name": name, "drifted": name in drifted} for name in ("f1", "f3", "f8")],
    }
    return SeenReport(document, read_at_s=start_ms / 1000 + 8.25)


def perfect() -> Seen:
    ids = tuple(f"demo-{number}" for number in range(20))
    anomaly = np.array([number in (1, 3) for number in range(20)])
    scenario = Scenario((Shift("f3", 0.5, 8.0), Spread("f8", 1.5, 48.0)))
    return Seen(
        schedule=SCHEDULE,
        traffic=Traffic(ids, (b"{}",) * 20, anomaly, scenario),
        progress=Progress(sent=20, answered=20),
        start_ms=START_MS,
        records={identity: SeenRecord(outlier=number in (1, 4), added_ms=1.0) for number, identity in enumerate(ids)},
        accounts=[Account(served=20, acknowledged=20)],
        reports=[
            window(-1, seen=0, served=0),
            window(0),
            window(1),
            *(window(n, drifted=("f3", "f8")) for n in (2, 3)),
        ],
        seconds=31.26,
    )


def wrong(seen: Seen, **found: Any) -> list[str]:
    return problems(make_report(seen), seen, **{"repeated": 0, "unreadable": {}, **found})


def test_the_report_has_exactly_its_fields() -> None:
    assert make_report(perfect()) == {
        "requests": {"served": 20, "failed": 0},
        "records": {"acknowledged": 20, "dropped": 0, "completeness": 1.0},
        "outliers": {"true": 2, "flagged": 2, "recall": 0.5, "false_alarm_rate": 0.125},
        "windows": {"closed": 4},
        "drift": {
            "injected_at": "2027-01-15T08:00:10.000Z",
            "first_detected_at": "2027-01-15T08:00:18.250Z",
            "detection_delay_s": 8.25,
            "features_injected": ["f3", "f8"],
            "features_found": ["f3", "f8"],
            "false_alarms_before": 0,
        },
        "added_latency_ms": {"p50": 1.0, "p99": 1.0},
        "seconds": 31.3,
    }


def test_a_run_without_fault_has_no_problems() -> None:
    assert wrong(perfect()) == []


def without_one_record(seen: Seen) -> Seen:
    return replace(seen, records={name: record for name, record in seen.records.items() if name != "demo-7"})


def with_reports(seen: Seen, *reports: SeenReport) -> Seen:
    return replace(seen, reports=list(reports))


FAULTS = {
    "failed request": (
        lambda seen: replace(seen, progress=Progress(20, 20, Counter({"status 503": 2}))),
        "2 requests failed: 2 x status 503",
    ),
    "dropped record": (
        lambda seen: replace(seen, accounts=[Account(served=20, acknowledged=19, dropped={"queue_full": 1})]),
        "1 records were dropped",
    ),
    "missing record": (without_one_record, "1 requests have no record in Kafka, the first is ['demo-7']"),
    "window not closed": (
        lambda seen: with_reports(seen, *seen.reports[:-1]),
        "3 of 4 windows closed",
    ),
    "incomplete window": (
        lambda seen: with_reports(seen, window(0, seen=4), *seen.reports[2:]),
        "completeness is 0.95, not 1.0",
    ),
    "unknown completeness": (
        lambda seen: with_reports(seen, window(0, served=None), *seen.reports[2:]),
        "completeness is None, not 1.0",
    ),
    "drift not found": (
        lambda seen: with_reports(seen, *seen.reports[:3], window(2, drifted=("f3",)), window(3)),
        "drift was put into f3 and f8 and found in f3",
    ),
    "drift found elsewhere": (
        lambda seen: with_reports(seen, *seen.reports[:4], window(3, drifted=("f1",))),
        "drift was put into f3 and f8 and found in f1 and f3 and f8",
    ),
    "false alarm": (
        lambda seen: with_reports(seen, window(0, drifted=("f1",)), *seen.reports[2:]),
        "1 false alarms before the drift",
    ),
}


@pytest.mark.parametrize(("change", "line"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_one_line(change: Any, line: str) -> None:
    assert wrong(change(perfect())) == [line]


def test_what_the_observer_could_not_make_out_is_said() -> None:
    assert wrong(perfect(), repeated=2, unreadable={"not_json": 1}) == [
        "2 records came twice",
        "messages that are no records: {'not_json': 1}",
    ]


def test_a_run_in_which_nothing_came_can_be_told() -> None:
    nothing = replace(perfect(), records={}, accounts=[], reports=[], progress=Progress(20, 20, Counter({"E": 20})))

    told = "\n".join(summary(make_report(nothing)))

    assert "Served 0 requests, 20 failed" in told
    assert "found in no feature" in told


def test_the_summary_tells_the_delay() -> None:
    assert any("8.2 s after it began" in line for line in summary(make_report(perfect())))
