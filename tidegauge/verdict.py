"""(monitor, baseline, summary of a closed window) -> WindowReport: the statistics, the tests and what follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, repeat
from typing import Any, Final

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.budget import Budget, Spending, SpendingState
from tidegauge.causes import causes_of
from tidegauge.dispersion import LEARNING_PAIRS
from tidegauge.drift import DRIFT_TESTS, REPORTED_TESTS, DriftTest, run_tests
from tidegauge.drift.own import own_test
from tidegauge.drift.results import Array, NotMeasured, Outcomes, Results
from tidegauge.drift.window_bins import AlarmLevel, WindowBins, stacked
from tidegauge.drift_spec import Drift
from tidegauge.joint import run_joint_tests
from tidegauge.joint.evidence import Evidence
from tidegauge.json_texts import GAP, Form, Unread, numbers
from tidegauge.memory import MonitorMemory
from tidegauge.monitor import ModelMonitor
from tidegauge.report import FeatureReport, WindowReport
from tidegauge.side_by_side import SideBySide, Summarised
from tidegauge.statistics import feature_texts
from tidegauge.subjects import subjects_of
from tidegauge.summaries.window_summary import WindowSummary
from tidegauge.window_statistics import window_texts
from tidegauge.windows import Window
from tidegauge.withheld import statistics_withheld


@dataclass(frozen=True)
class Case:
    """
    A closed window that is to be judged. memory: of the windows before (memory.remember adds this one). Without any,
    rows are taken to be independent and the window to be the only one.
    """

    monitor: ModelMonitor
    profile: BaselineProfile
    version: str
    window: Window
    summary: WindowSummary
    revision: int = 0
    memory: MonitorMemory | None = None


def judge(
    *,
    monitor: ModelMonitor,
    profile: BaselineProfile,
    version: str,
    window: Window,
    summary: WindowSummary,
    revision: int = 0,
    memory: MonitorMemory | None = None,
) -> WindowReport:
    """As Case has them. Raises IncompatibleSummaries when the summary's bins are not the profile's."""
    (report,) = judge_all([Case(monitor, profile, version, window, summary, revision, memory)])
    return report


def judge_all(cases: Sequence[Case]) -> list[WindowReport]:
    """
    The same verdicts as on each case alone, in a part of the time: of one window, Python's own steps from one piece of
    arithmetic to the next take most of it.
    """
    reports: dict[int, WindowReport] = {}
    for alike in _alike(cases):
        reports |= zip(alike, _judged([cases[at] for at in alike]), strict=True)
    return [reports[at] for at in range(len(cases))]


def _alike(cases: Sequence[Case]) -> Iterable[list[int]]:
    """Whose monitors want the same tests and the same statistics."""
    found: list[tuple[Any, list[int]]] = []
    for at, case in enumerate(cases):
        wanted = case.monitor.drift.own, case.monitor.statistics
        places = next((places for known, places in found if known == wanted), None)
        if places is None:
            found.append((wanted, [at]))
        else:
            places.append(at)
    return [places for _, places in found]


def _judged(cases: Sequence[Case]) -> list[WindowReport]:
    """Whose monitors want the same tests and the same statistics."""
    hearings = list(map(_Hearing, cases))
    windows = [Summarised(case.profile, case.summary) for case in cases]
    outcomes = _outcomes(hearings)
    spans = list(pairwise(np.cumsum([0, *(len(one.subjects) for one in hearings)]).tolist()))
    joint = run_joint_tests([one.evidence(outcomes, *span) for one, span in zip(hearings, spans, strict=True)])
    starts = zip((start for start, _ in spans), cases, strict=True)
    worst = outcomes.largest_effects([(start, start + len(case.profile.schema)) for start, case in starts])
    of_features = feature_texts(cases[0].monitor.statistics, SideBySide(windows))
    of_windows = window_texts([case.monitor for case in cases], windows)
    results = ([outcomes[at] for at in range(*span)] for span in spans)
    told = zip(hearings, results, of_features, map(Unread, of_windows), joint, worst, strict=True)
    return [one.report(*found) for one, *found in told]


def _outcomes(hearings: Sequence[_Hearing]) -> Outcomes:
    """Of all subjects of the first, the second and so on. Withheld ones are not measured."""
    tests = _tests(hearings[0].case.monitor.drift)
    min_counts = [one.budget.windows.min_count for one in hearings]
    bins = WindowBins([one.subjects.bins for one in hearings], min_counts=min_counts)
    lengths = [len(one.subjects) for one in hearings]
    of_each = [one.levels(tests) for one in hearings]
    levels = {test: stacked([of_one[test] for of_one in of_each], lengths) for test in tests}
    whys = [one.withheld.get(at) for one in hearings for at in range(len(one.subjects))]
    withheld = {at: NotMeasured(why) for at, why in enumerate(whys) if why is not None}
    return run_tests(tests, bins, levels).without(withheld)


class _Hearing:
    """A case, what its tests are given, and the report on it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.subjects = subjects_of(case.profile, case.summary, case.monitor.outliers.detectors)
        self.withheld = self.subjects.withheld(case.monitor.capture)
        judged = max(len(self.subjects) - len(self.withheld), 1)
        self.budget = Budget.over(judged, drift=case.monitor.drift, windows=case.monitor.windows)

    @cached_property
    def dispersions(self) -> Mapping[str, Array] | None:
        """Of the location test, and of the tests over all bins; None while they are being learnt."""
        memory = self.case.memory
        if memory is None:
            return {"all_bins": np.ones(len(self.subjects)), "location": np.ones(len(self.subjects))}
        if memory.dispersion.learning or not memory.dispersion.knows(self.subjects):
            return None
        return {"all_bins": memory.dispersion.for_all_bins(), "location": memory.dispersion.for_location()}

    def levels(self, tests: Iterable[str]) -> dict[str, AlarmLevel]:
        levels = self.budget.levels(tests, learning=self.dispersions is None)
        scales: Mapping[str, Any] = self.dispersions or {"all_bins": 1.0}
        return {test: level.scaled(scales.get(test, scales["all_bins"])) for test, level in levels.items()}

    def evidence(self, outcomes: Outcomes, start: int, end: int) -> Evidence:
        """For the joint tests. start, end: of this case's outcomes; the features come first."""
        names, location = self.case.profile.schema.names, outcomes.answers["location"]
        effects = zip(names, location.effect[start:end].tolist(), location.measured[start:end].tolist(), strict=False)
        level = self.budget.level("location")
        return Evidence(
            profile=self.case.profile,
            summary=self.case.summary,
            locations={name: effect for name, effect, measured in effects if measured},
            rows=self.subjects.rows,
            min_count=self.budget.windows.min_count,
            baseline=float(level.baseline),
            minimum_shift=float(level.minimum_effect),
            dispersion=float(self.dispersions["location"][: len(names)].max()) if self.dispersions else 1.0,
        )

    def report(
        self,
        results: Sequence[Results],
        statistics: Sequence[bytes],
        of_window: Unread,
        joint: Results,
        worst_effects: Mapping[str, float],
    ) -> WindowReport:
        """results: of the subjects. statistics: of the features, as texts; of_window: the window's."""
        case = self.case
        judged = list(self._judged(results, statistics))
        return WindowReport(
            monitor=case.monitor.name,
            model=case.monitor.model.name,
            version=case.version,
            baseline=case.profile.content_id,
            window=case.window,
            revision=case.revision,
            requests=case.summary.requests,
            completeness=case.summary.account.completeness(case.window),
            features=tuple(one for one in judged if one.kind == "feature"),
            spending=self._spending(),
            statistics=of_window,
            predictions=tuple(one for one in judged if one.kind == "prediction"),
            scores=next((one for one in judged if one.kind == "scores"), None),
            joint=joint,
            causes=causes_of(case.profile, case.summary, judged),
            profile=case.profile,
            worst_effects=worst_effects,
            compared=self.subjects.bins,
        )

    def _judged(self, results: Sequence[Results], statistics: Sequence[bytes]) -> Iterator[FeatureReport]:
        subjects, own = self.subjects, self.case.monitor.statistics.own
        scales = repeat(None) if self.dispersions is None else _by_subject(self.dispersions)
        told = [Unread(text) for text in statistics] + [_NOTHING] * (len(subjects) - len(statistics))
        for at, why in self.withheld.items():
            if at < len(statistics):
                told[at] = statistics_withheld(own if self._is_quantity(at) else (), why)
        described = zip(subjects.names, told, results, scales, subjects.kinds, strict=False)
        for at, (name, of_feature, found, dispersion, kind) in enumerate(described):
            yield FeatureReport(name, of_feature, found, dispersion, kind, self.withheld.get(at))

    def _is_quantity(self, at: int) -> bool:
        return bool(self.case.profile.schema.quantities[at])

    def _spending(self) -> Spending:
        allowed, memory = self.budget.drift.false_alarms, self.case.memory
        state: SpendingState = "learning" if self.dispersions is None else "spending"
        if self.subjects.rows < self.budget.windows.min_count:
            state = "too_few_rows"
        this_window = self.budget.per_window if state == "spending" else 0.0
        return Spending(
            state=state,
            alarms=allowed.alarms,
            period_s=allowed.period_s,
            per_window=self.budget.per_window,
            per_decision=self.budget.per_decision,
            this_window=this_window,
            spent=this_window + (memory.spent if memory else 0.0),
            learnt_windows=memory.dispersion.windows if memory else 0,
            learning_windows=LEARNING_PAIRS + 1 if memory else 0,
        )


_NOTHING: Final = Unread(b"{}")
"""Predictions and scores have their statistics among the window's."""


def _tests(drift: Drift) -> dict[str, DriftTest]:
    """The deciding ones first."""
    decide = {name: own_test(name, decides=True) for name in drift.own.decide}
    report = {name: own_test(name, decides=False) for name in drift.own.report}
    return {**DRIFT_TESTS, **decide, **REPORTED_TESTS, **report}


def _by_subject(columns: Mapping[str, Array]) -> list[Unread]:
    return list(map(Unread, Form(dict.fromkeys(columns, GAP)).fill(*map(numbers, columns.values()))))
