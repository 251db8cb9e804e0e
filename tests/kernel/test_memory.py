"""What verdicts carry from window to window: learning first, then spending; the same after a restart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from tests.support.examples import make_record, monitor_document, numeric_schema
from tests.support.schemas import validate
from tidegauge.baseline import BaselineProfile
from tidegauge.dispersion import LEARNING_PAIRS
from tidegauge.memory import MonitorMemory, correct, remember
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.report import WindowReport
from tidegauge.summaries.window_summary import WindowSummary, summarise
from tidegauge.verdict import judge
from tidegauge.windows import Window

RNG = np.random.default_rng(4)
PROFILE = BaselineProfile.fit(RNG.normal(size=(4000, 2)), numeric_schema(2))
MONITOR = parse_monitor(monitor_document(windows={"duration": "5s"}))
LEARNING_WINDOWS = LEARNING_PAIRS + 1


def rows(shift: float = 0.0, *, count: int = 1000, weight: float = 1.0) -> WindowSummary:
    records = [make_record(features=RNG.normal(shift, 1.0, size=(count, 2)).tolist(), rows=count, weight=weight)]
    return summarise(records, [], PROFILE)


def judged(
    summaries: list[WindowSummary],
    *,
    monitor: ModelMonitor = MONITOR,
    memory: MonitorMemory | None = None,
    first: int = 0,
) -> tuple[list[WindowReport], MonitorMemory]:
    memory = memory or MonitorMemory()
    reports = []
    for number, summary in enumerate(summaries, start=first):
        window = Window(5000 * number, 5000 * number + 5000)
        report = judge(monitor=monitor, profile=PROFILE, version="1", window=window, summary=summary, memory=memory)
        memory = remember(memory, report)
        reports.append(report)
    return reports, memory


def test_the_first_windows_are_learnt_from_and_cost_nothing() -> None:
    reports, memory = judged([rows() for _ in range(LEARNING_WINDOWS + 2)])
    assert [report.verdict for report in reports] == ["learning"] * LEARNING_WINDOWS + ["no_drift"] * 2
    assert [report.spending.learnt_windows for report in reports] == list(range(LEARNING_WINDOWS + 2))
    assert {report.spending.learning_windows for report in reports} == {LEARNING_WINDOWS}
    per_window = reports[0].spending.per_window
    assert per_window == pytest.approx(5 / (30 * 86_400))
    assert [report.spending.this_window for report in reports] == [0.0] * LEARNING_WINDOWS + [per_window] * 2
    assert memory.spent == pytest.approx(2 * per_window)
    for report in (reports[0], reports[-1]):
        validate("window-report.v1", report.to_document())
    assert [feature.dispersion for feature in reports[0].features] == [None, None]
    assert all(feature.dispersion and feature.dispersion["location"] >= 1 for feature in reports[-1].features)


def test_a_shift_is_found_as_soon_as_learning_ends_however_little_is_known() -> None:
    reports, _ = judged([rows() for _ in range(LEARNING_WINDOWS)] + [rows(0.5)])
    assert sorted(reports[-1].drifted_features) == ["f0", "f1"]
    assert reports[-1].verdict == "drift"


def test_while_learning_only_fixed_thresholds_tell() -> None:
    document = monitor_document(windows={"duration": "5s"}, drift={"thresholds": {"location": 0.4}})
    (first, second), _ = judged([rows(-0.5), rows()], monitor=parse_monitor(document))
    assert (first.verdict, second.verdict) == ("drift", "learning")
    results: Any = first.to_document()["features"][0]["tests"]
    assert (results["location"]["rule"], results["location"]["threshold"]) == ("fixed_threshold", 0.0)
    assert results["location"]["fixed_threshold"] == 0.4
    assert results["jensen_shannon"]["rule"] is None


def test_fixed_thresholds_may_be_on_reported_tests() -> None:
    document = monitor_document(drift={"thresholds": {"psi": 0.2, "wasserstein": 9.0}})
    report = judge(
        monitor=parse_monitor(document), profile=PROFILE, version="1", window=Window(0, 15_000), summary=rows(0.7)
    )
    results: Any = report.to_document()["features"][0]["tests"]
    assert (results["psi"]["rule"], results["wasserstein"]["rule"]) == ("fixed_threshold", None)
    assert (results["jensen_shannon"]["rule"], results["psi"]["threshold"]) == ("budget", None)


def test_windows_of_few_rows_neither_cost_nor_teach() -> None:
    reports, memory = judged([rows(), rows(count=99), rows(count=0)])
    assert [report.spending.state for report in reports] == ["learning", "too_few_rows", "too_few_rows"]
    assert [report.verdict for report in reports] == ["learning", "unknown", "unknown"]
    assert (memory.dispersion.windows, memory.spent) == (1, 0.0)


def test_without_a_memory_rows_are_taken_as_independent() -> None:
    report = judge(monitor=MONITOR, profile=PROFILE, version="1", window=Window(0, 5000), summary=rows(0.5))
    assert report.verdict == "drift"
    assert report.features[0].dispersion == {"all_bins": 1.0, "location": 1.0}
    assert (report.spending.state, report.spending.learning_windows) == ("spending", 0)
    assert report.spending.spent == report.spending.per_window


def test_sampled_rows_count_as_much_as_they_are_worth() -> None:
    """Ten rows of weight 100 each are worth ten rows; 1,000 of equal weight are worth 1,000."""
    few, many = rows(count=10, weight=100.0), rows(0.5, count=1000, weight=100.0)
    reports = [
        judge(monitor=MONITOR, profile=PROFILE, version="1", window=Window(0, 5000), summary=summary)
        for summary in (few, many, rows(count=1, weight=5.0).merge(rows(0.5, count=1000, weight=2.0)))
    ]
    assert [report.verdict for report in reports] == ["unknown", "drift", "drift"]


def test_a_restart_changes_nothing() -> None:
    summaries = [rows() for _ in range(12)] + [rows(0.5)]
    whole, memory = judged(summaries)
    first, between = judged(summaries[:5])
    between = MonitorMemory.decode(replace(between, alerts={"open": 1}).encode())
    assert between.alerts == {"open": 1}
    second, after = judged(summaries[5:], memory=between, first=5)
    assert [report.to_document() for report in first + second] == [report.to_document() for report in whole]
    assert replace(after, alerts=None).encode() == memory.encode()


@pytest.mark.parametrize("version", [{"v": 1, "windows": 3, "drifted": 0}, {"v": 2}])
def test_a_memory_of_the_first_versions_is_read(version: dict[str, int]) -> None:
    _, memory = judged([rows() for _ in range(3)])
    learnt = memory.dispersion
    cells = [[*place, learnt.cells[tuple(place)]] for place in np.argwhere(learnt.cells).tolist()]
    dispersion = {
        "pairs": learnt.pairs,
        "features": learnt.cells.shape[1],
        "cells": np.ravel(cells).tolist(),
        "last": learnt.last.tolist(),
        "last_end_ms": learnt.last_end_ms,
    }
    first = {**version, "dispersion": dispersion, "spent": memory.spent, "alerts": {"open": 1}}
    again = MonitorMemory.decode(orjson.dumps(first))
    assert again.dispersion.pairs == 2
    assert replace(again, alerts=None).encode() == memory.encode()
    assert again.alerts == {"open": 1}


@pytest.mark.parametrize(("data", "version"), [(b'{"v": 9}', "9"), (b"tgm4\x00\x00", "'tgm4'"), (b"", "''")])
def test_a_memory_of_another_version_is_refused(data: bytes, version: str) -> None:
    with pytest.raises(ValueError, match=f"memory of version {version}, this program reads 1"):
        MonitorMemory.decode(data)


def test_a_corrected_report_costs_nothing_again() -> None:
    reports, memory = judged([rows() for _ in range(LEARNING_WINDOWS + 1)])
    again, after = correct(memory, replace(reports[-1], revision=1), judged=True)
    assert (again.spending.this_window, again.spending.spent) == (0.0, memory.spent)
    assert after == memory


def test_a_corrected_report_on_a_window_that_could_not_be_judged_costs_its_share() -> None:
    _, memory = judged([rows() for _ in range(LEARNING_WINDOWS)] + [rows(count=10)])
    assert memory.spent == 0.0
    window = Window(5000 * LEARNING_WINDOWS, 5000 * LEARNING_WINDOWS + 5000)
    whole = judge(
        monitor=MONITOR, profile=PROFILE, version="1", window=window, summary=rows(), revision=1, memory=memory
    )
    report, after = correct(memory, whole, judged=False)
    assert report.spending.this_window == report.spending.per_window == after.spent
