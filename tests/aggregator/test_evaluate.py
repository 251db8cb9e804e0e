from __future__ import annotations

from typing import Any

import orjson

from aggregator.evaluate import ALERT, CLOSED, DRIFT, LATE, PROVISIONAL, REPORT, Output, outputs_of, state_told, tally
from aggregator.progress import Held, Progress
from aggregator.told import told_of_report
from aggregator.windows import Closed, Late, Step
from tests.aggregator.doors import catalogue, profile, traffic, window_key
from tests.support.schemas import validate
from tidegauge.records import InferenceRecord
from tidegauge.summaries.window_summary import summarise


def step(**changes: Any) -> Step:
    records = [message for message in traffic(5) if isinstance(message, InferenceRecord)]
    return Step(Progress(late_records=7), closed=(Closed(window_key(0), summarise(records, [], profile())),), **changes)


def outputs(monitor: str = "doors", **changes: Any) -> list[tuple[Output, dict[str, Any]]]:
    given = outputs_of(step(**changes), monitor, catalogue(), KeptMemories())
    return [(output, orjson.loads(output.value)) for output in given]


class KeptMemories:
    """evaluate.Memories in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def get(self, version: str, baseline: str) -> bytes | None:
        return self.kept.get((version, baseline))

    def put(self, version: str, baseline: str, memory: bytes) -> None:
        self.kept[version, baseline] = memory


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
    (_, document), _, (closed, told) = outputs()
    assert (closed.kind, closed.topic, told) == (CLOSED, None, told_of_report(document))


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
    at_once = list(outputs_of(Step(Progress(), tuple(closed)), "doors", catalogue(), together))
    one_by_one = [
        output for one in closed for output in outputs_of(Step(Progress(), (one,)), "doors", catalogue(), apart)
    ]
    assert at_once == one_by_one
    assert together.kept == apart.kept
    verdicts = [orjson.loads(output.value)["verdict"] for output in at_once if output.kind == REPORT]
    assert verdicts[:6] == ["learning"] * 6
    assert "learning" not in verdicts[6:]


def test_alerts_go_to_their_topic_once_and_are_kept_in_the_memory() -> None:
    """Windows of three rows cannot be judged: after so many of them that is an alert."""
    few = summarise([m for m in traffic(1) if isinstance(m, InferenceRecord)][:3], [], profile())
    closed = tuple(Closed(window_key(5_000 * number), few) for number in range(45))
    memories = KeptMemories()
    given = [one for one in outputs_of(Step(Progress(), closed), "doors", catalogue(), memories) if one.kind == ALERT]
    (alert,) = given
    document = orjson.loads(alert.value)
    assert (alert.topic, alert.key, document["about"]) == ("tidegauge.alerts", document["id"], "blind")
    validate("alert.v1", document)
    again = outputs_of(Step(Progress(), closed[-3:]), "doors", catalogue(), memories)
    assert [one for one in again if one.kind == ALERT] == []


def test_a_window_under_way_is_told_of_without_leaving_a_trace() -> None:
    memories = KeptMemories()
    (output,) = outputs_of(Step(Progress(), under_way=step().closed), "doors", catalogue(), memories)
    document = orjson.loads(output.value)
    assert (output.kind, output.topic, document["kind"]) == (PROVISIONAL, None, "provisional")
    validate("window-report.v1", document)
    assert memories.kept == {}
    assert list(outputs_of(Step(Progress(), under_way=step().closed), "gates", catalogue(), memories)) == []


def test_versions_that_served_the_same_window_are_compared_with_the_monitors_own() -> None:
    summary = step().closed[0].summary
    closed = tuple(Closed(window_key(0, version), summary) for version in ("0", "1", "2"))
    reports = [
        orjson.loads(output.value)
        for output in outputs_of(Step(Progress(), closed), "doors", catalogue(), KeptMemories())
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
    list(outputs_of(Step(Progress(), closed), "doors", catalogue(), memories))
    again = Step(Progress(), (Closed(window_key(35_000), first.summary, revision=1),))
    report = orjson.loads(next(iter(outputs_of(again, "doors", catalogue(), memories))).value)
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
