from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from aggregator.evaluate import (
    ALERT,
    CLOSED,
    DRIFT,
    LATE,
    PROVISIONAL,
    REPORT,
    Output,
    Stepped,
    outputs_of,
    state_told,
    tally,
)
from aggregator.progress import Held, Progress
from aggregator.windows import Closed, Late, Step
from tests.aggregator.doors import catalogue, profile, traffic, window_key
from tests.support.schemas import validate
from tidegauge.records import InferenceRecord
from tidegauge.summaries.window_summary import summarise


def step(**changes: Any) -> Step:
    records = [message for message in traffic(5) if isinstance(message, InferenceRecord)]
    return Step(Progress(late_records=7), closed=(Closed(window_key(0), summarise(records, [], profile())),), **changes)


def outputs(monitor: str = "doors", **changes: Any) -> list[tuple[Output, dict[str, Any]]]:
    given = outputs_of([Stepped(monitor, step(**changes), KeptMemories())], catalogue())
    return [(output, orjson.loads(output.value)) for output in given]


class KeptMemories:
    """evaluate.Memories in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def get(self, version: str, baseline: str) -> bytes | None:
        return self.kept.get((version, baseline))

    def put(self, version: str, baseline: str, memory: bytes) -> None:
        self.kept[version, baseline] = memory


def doors(*closed: Closed, memories: KeptMemories) -> Stepped:
    return Stepped("doors", Step(Progress(), closed), memories)


def test_a_closed_window_gives_a_report_and_a_drift_verdict_under_one_key() -> None:
    (report, document), (drift, _verdict), _ = outputs()
    assert (report.kind, report.topic, drift.kind, drift.topic) == (
        REPORT,
        "tidegauge.statistics",
        DRIFT,
        "tidegauge.drift",
    )
    assert report.key == drift.key
    validate("window-report.v1", document)


def test_the_drift_verdict_is_the_report_without_its_statistics() -> None:
    (_, document), (_, verdict), _ = outputs()
    del document["statistics"]
    for feature in document["features"]:
        del feature["statistics"]
    assert verdict == document | {"kind": "drift"}


def test_what_the_log_tells_of_a_closed_window_goes_to_no_topic() -> None:
    (report, document), _, (closed, told) = outputs()
    assert (closed.kind, closed.topic, closed.key) == (CLOSED, None, report.key)
    assert (told["verdict"], told["window_requests"]) == (document["verdict"], 100)


def test_late_rows_give_an_account_in_the_dead_letters_with_a_key_of_its_own_each_time() -> None:
    *_, (late, document) = outputs(late=(Late(window_key(0), 3),))
    assert (late.kind, late.topic) == (LATE, "tidegauge.dead-letter")
    assert late.key.endswith("/late/7")
    assert {name: document[name] for name in ("kind", "reason", "monitor", "records", "late_records_ever")} == {
        "kind": "late",
        "reason": "late",
        "monitor": "doors",
        "records": 3,
        "late_records_ever": 7,
    }


def test_a_window_whose_monitor_is_gone_is_accounted_for() -> None:
    ((output, document),) = outputs(monitor="gates")
    assert output.topic == "tidegauge.dead-letter"
    assert (document["kind"], document["reason"], document["records"]) == (
        "dead_letter",
        "window_without_baseline",
        100,
    )


def test_a_tally_stays_in_the_log() -> None:
    assert list(tally({"not_json": 2})) == [Output("tally", None, "not_json", b'{"reason":"not_json","count":2}')]


def test_windows_are_judged_by_what_those_before_them_have_left() -> None:
    """All in one step, or in one step each with what was kept between them: the same reports."""
    closed = [Closed(window_key(5_000 * number), step().closed[0].summary) for number in range(8)]
    together, apart = KeptMemories(), KeptMemories()
    at_once = list(outputs_of([doors(*closed, memories=together)], catalogue()))
    one_by_one = [output for one in closed for output in outputs_of([doors(one, memories=apart)], catalogue())]
    assert at_once == one_by_one
    assert together.kept == apart.kept
    verdicts = [orjson.loads(output.value)["verdict"] for output in at_once if output.kind == REPORT]
    assert verdicts[:6] == ["learning"] * 6
    assert "learning" not in verdicts[6:]


def test_monitors_whose_windows_close_together_are_judged_as_if_alone() -> None:
    """One of them has more windows than the others, one has a baseline that nobody knows, and one is gone."""
    summary = step().closed[0].summary
    known = catalogue("doors", "gates")
    windows = {name: [Closed(window_key(5_000 * number), summary) for number in range(count)] for name, count in COUNTS}
    windows["gates"].append(Closed(replace(window_key(60_000), baseline="c" * 64), summary))
    together, apart = ({name: KeptMemories() for name, _ in COUNTS} for _ in range(2))
    steps = {
        name: Step(Progress(late_records=1), tuple(closed), late=(Late(window_key(0), 1),))
        for name, closed in windows.items()
    }
    at_once = list(outputs_of([Stepped(name, one, together[name]) for name, one in steps.items()], known))
    alone = [output for name, one in steps.items() for output in outputs_of([Stepped(name, one, apart[name])], known)]
    assert len(at_once) == len(alone)
    assert sorted(at_once) == sorted(alone)
    assert all(together[name].kept == apart[name].kept for name, _ in COUNTS)


COUNTS = (("doors", 8), ("gates", 7), ("windows", 1))


def test_alerts_go_to_their_topic_once_and_are_kept_in_the_memory() -> None:
    """Windows of three rows cannot be judged: after so many of them that is an alert."""
    few = summarise([m for m in traffic(1) if isinstance(m, InferenceRecord)][:3], [], profile())
    closed = tuple(Closed(window_key(5_000 * number), few) for number in range(45))
    memories = KeptMemories()
    given = [one for one in outputs_of([doors(*closed, memories=memories)], catalogue()) if one.kind == ALERT]
    (alert,) = given
    document = orjson.loads(alert.value)
    assert (alert.topic, alert.key, document["about"]) == ("tidegauge.alerts", document["id"], "blind")
    validate("alert.v1", document)
    again = outputs_of([doors(*closed[-3:], memories=memories)], catalogue())
    assert [one for one in again if one.kind == ALERT] == []


def test_a_window_under_way_is_told_of_without_leaving_a_trace() -> None:
    memories = KeptMemories()
    under_way = Step(Progress(), under_way=step().closed)
    (output,) = outputs_of([Stepped("doors", under_way, memories)], catalogue())
    document = orjson.loads(output.value)
    assert (output.kind, output.topic, document["kind"]) == (PROVISIONAL, None, "provisional")
    validate("window-report.v1", document)
    assert memories.kept == {}
    assert list(outputs_of([Stepped("gates", under_way, memories)], catalogue())) == []


def test_versions_that_served_the_same_window_are_compared_with_the_monitors_own() -> None:
    summary = step().closed[0].summary
    closed = tuple(Closed(window_key(0, version), summary) for version in ("0", "1", "2"))
    reports = [
        orjson.loads(output.value)
        for output in outputs_of([doors(*closed, memories=KeptMemories())], catalogue())
        if output.kind == REPORT
    ]
    against = {one["version"]: one["versus"] and one["versus"]["version"] for one in reports}
    assert against == {"0": "1", "1": None, "2": "1"}
    for one in reports:
        validate("window-report.v1", one)


def test_a_corrected_report_has_its_revision_and_costs_nothing_again() -> None:
    memories = KeptMemories()
    first = step().closed[0]
    closed = tuple(Closed(window_key(5_000 * number), first.summary) for number in range(8))
    list(outputs_of([doors(*closed, memories=memories)], catalogue()))
    again = doors(Closed(window_key(35_000), first.summary, revision=1), memories=memories)
    report = orjson.loads(next(iter(outputs_of([again], catalogue()))).value)
    assert (report["revision"], report["budget"]["this_window"]) == (1, 0.0)
    assert report["budget"]["state"] == "spending"


def test_what_the_state_holds_is_told_in_numbers() -> None:
    windows = {window_key(0): Held(size_bytes=5, closed=True), window_key(5_000): Held(size_bytes=7)}
    told = state_told("doors", Progress(latest_ms=1_000, windows=windows, late_records=2), 1_500)
    assert orjson.loads(told.value) == {
        "monitor": "doors",
        "event_time_ms": 1_000,
        "lag_ms": 500,
        "open_windows": 1,
        "kept_windows": 1,
        "state_bytes": 12,
        "workers": 0,
        "late_records": 2,
    }
