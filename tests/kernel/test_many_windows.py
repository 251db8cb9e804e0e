"""Windows judged together have the verdicts that each has alone, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.support.examples import (
    make_record,
    mixed_profile,
    mixed_rows,
    monitor_document,
    numeric_schema,
)
from tidegauge.baseline import BaselineProfile
from tidegauge.memory import MonitorMemory, remember, remember_all
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.summaries.window_summary import WindowSummary, summarise, summarise_matrix
from tidegauge.verdict import Case, judge, judge_all
from tidegauge.windows import Window

RNG = np.random.default_rng(3)
NUMBERS = RNG.normal(size=(600, 3))
NUMERIC = BaselineProfile.fit(NUMBERS, numeric_schema(3), predictions=NUMBERS[:, 0] > 0, detectors=["mahalanobis"])
MIXED = mixed_profile()
FEW_VALUES = BaselineProfile.fit(RNG.integers(0, 3, size=(600, 2)).astype(np.float64), numeric_schema(2))
"""Whose features have fewer bins than those of the others."""


def monitor(name: str, **spec: Any) -> ModelMonitor:
    return parse_monitor(monitor_document(**spec) | {"metadata": {"name": name}})


PLAIN = monitor("plain")
OWN = monitor(
    "own",
    drift={"own": {"report": ["tests.support.own:largest_gap"]}, "thresholds": {"psi": 0.1}},
    statistics={"own": ["tests.support.own:WholeNumbers"], "percentiles": [10, 90]},
    windows={"minCount": 50},
)
STRICT = monitor("strict", drift={"falseAlarms": "1 per 300d", "minimumEffect": {"location": 0.3}})
WITHHELD = monitor("withheld", capture={"redact": {"height": "drop"}})
SCORES = monitor("scores", capture={"payload": "scores"})


def numbers(rows: int, *, shift: float = 0.0, **values: Any) -> WindowSummary:
    matrix = RNG.normal(shift, 1.0, size=(rows, 3))
    matrix[RNG.random((rows, 3)) < 0.02] = np.nan
    return summarise_matrix(matrix, NUMERIC, predictions=matrix[:, 1] > 0, **values)


def mixed(rows: int, *, shift: float = 0.0) -> WindowSummary:
    matrix = mixed_rows(rows, seed=int(RNG.integers(1 << 20)))
    matrix[:, 0] += shift
    records = [
        make_record(seq=at + 1, features=[row], outlier=[False], scores={"tail": [0.1 * at]}, predictions=[at % 2])
        for at, row in enumerate(MIXED.schema.decode_rows(matrix))
    ]
    return summarise(records, [], MIXED, OWN.statistics)


def learnt() -> MonitorMemory:
    memory = MonitorMemory()
    for number in range(7):
        window = Window(15_000 * number, 15_000 * number + 15_000)
        report = judge(
            monitor=PLAIN, profile=MIXED, version="1", window=window, summary=mixed(300 + number), memory=memory
        )
        memory = remember(memory, report)
    return memory


def cases() -> list[Case]:
    p_values: list[float] = RNG.random(400).tolist()
    weights: list[float] = RNG.choice([1.0, 8.0], 300).tolist()
    summaries: list[tuple[ModelMonitor, BaselineProfile, WindowSummary, MonitorMemory | None]] = [
        (PLAIN, NUMERIC, numbers(317), None),
        (PLAIN, MIXED, mixed(288), learnt()),
        (PLAIN, FEW_VALUES, summarise_matrix(RNG.integers(0, 3, size=(310, 2)).astype(np.float64), FEW_VALUES), None),
        (OWN, MIXED, mixed(301, shift=9.0), MonitorMemory()),
        (STRICT, NUMERIC, numbers(400, shift=0.7, p_values=p_values), None),
        (WITHHELD, MIXED, mixed(250), None),
        (SCORES, NUMERIC, numbers(260), None),
        (PLAIN, NUMERIC, numbers(300, weights=weights), None),
        (OWN, NUMERIC, numbers(20), None),
        (PLAIN, MIXED, replace(mixed(200), measures=None, quantiles=None), MonitorMemory()),
        (PLAIN, NUMERIC, numbers(0), None),
    ]
    return [
        Case(known, profile, "1", Window(15_000 * at, 15_000 * at + 15_000), summary, memory=memory)
        for at, (known, profile, summary, memory) in enumerate(summaries)
    ]


CASES = cases()


def test_each_report_is_the_one_that_its_window_has_alone() -> None:
    together = judge_all(CASES)
    alone = [judge(**vars(case)) for case in CASES]
    for one, other in zip(together, alone, strict=True):
        for kind in ("report", "drift", "provisional"):
            assert one.encode(kind) == other.encode(kind)  # type: ignore[arg-type]
        assert (one.drifted, one.verdict, dict(one.worst_effects)) == (
            other.drifted,
            other.verdict,
            dict(other.worst_effects),
        )


def test_the_order_in_which_they_are_given_does_not_matter() -> None:
    forwards, backwards = judge_all(CASES), judge_all(CASES[::-1])
    assert [report.encode() for report in backwards[::-1]] == [report.encode() for report in forwards]


def test_what_is_remembered_of_many_is_what_is_remembered_of_each() -> None:
    memories = [case.memory or MonitorMemory() for case in CASES]
    reports = judge_all(CASES)
    together = [memory.encode() for memory in remember_all(memories, reports)]
    assert together == [remember(memory, report).encode() for memory, report in zip(memories, reports, strict=True)]


def test_nothing_judged_is_nothing_said() -> None:
    assert judge_all([]) == []
    assert remember_all([], []) == []


def test_withheld_features_are_told_as_if_there_were_no_rows() -> None:
    report = next(one for one in judge_all(CASES) if one.monitor == "withheld")
    height = report.to_document()["features"][0]
    assert height["withheld"] == "redacted: capture.redact has drop"
    assert (height["statistics"]["count"], height["statistics"]["mean"], height["drifted"]) == (0, None, False)
    assert height["statistics"]["range"]["max"] == {"measured": False, "why": height["withheld"]}
