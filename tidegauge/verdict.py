"""(monitor, baseline, summary of a closed window) -> WindowReport: the statistics, the tests and what follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegauge.baseline import BaselineProfile
from tidegauge.budget import Budget, Spending, SpendingState
from tidegauge.causes import causes_of
from tidegauge.dispersion import LEARNING_PAIRS
from tidegauge.drift import DRIFT_TESTS, REPORTED_TESTS
from tidegauge.drift.results import DriftResult
from tidegauge.drift.window_bins import AlarmLevel, WindowBins
from tidegauge.memory import MonitorMemory
from tidegauge.monitor import ModelMonitor
from tidegauge.report import FeatureReport, WindowReport
from tidegauge.statistics import feature_statistics, window_statistics
from tidegauge.subjects import Subject, subjects_of
from tidegauge.summaries.window_summary import WindowSummary
from tidegauge.windows import Window


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
    """
    memory: of the windows before (memory.remember adds this one). Without any, rows are taken to be independent and the
    window to be the only one. Raises IncompatibleSummaries when the summary's bins are not the profile's.
    """
    subjects = subjects_of(profile, summary)
    statistics = feature_statistics(monitor, profile, summary)
    budget = Budget.over(len(subjects), drift=monitor.drift, windows=monitor.windows)
    features = _judge_subjects(subjects, statistics, budget, _dispersions(memory, len(subjects)))
    return WindowReport(
        monitor=monitor.name,
        model=monitor.model.name,
        version=version,
        baseline=profile.content_id,
        window=window,
        revision=revision,
        requests=summary.requests,
        completeness=summary.account.completeness(window),
        features=features,
        spending=_spending(budget, memory, rows=float(subjects[0].window.sum())),
        statistics=window_statistics(monitor, profile, summary),
        causes=causes_of(profile, summary, features),
        profile=profile,
    )


def _spending(budget: Budget, memory: MonitorMemory | None, *, rows: float) -> Spending:
    allowed = budget.drift.false_alarms
    learning = memory is not None and memory.dispersion.learning
    state: SpendingState = "learning" if learning else "spending"
    if rows < budget.windows.min_count:
        state = "too_few_rows"
    this_window = budget.per_window if state == "spending" else 0.0
    return Spending(
        state=state,
        alarms=allowed.alarms,
        period_s=allowed.period_s,
        per_window=budget.per_window,
        per_decision=budget.per_decision,
        this_window=this_window,
        spent=this_window + (memory.spent if memory else 0.0),
        learnt_windows=memory.dispersion.windows if memory else 0,
        learning_windows=LEARNING_PAIRS + 1 if memory else 0,
    )


def _dispersions(memory: MonitorMemory | None, subjects: int) -> list[Mapping[str, float] | None]:
    """Per subject: of the tests over all bins, and of the location test; None while they are being learnt."""
    if memory is None:
        return [{"all_bins": 1.0, "location": 1.0}] * subjects
    if memory.dispersion.learning:
        return [None] * subjects
    both = zip(memory.dispersion.for_all_bins().tolist(), memory.dispersion.for_location().tolist(), strict=True)
    return [{"all_bins": all_bins, "location": location} for all_bins, location in both]


def _judge_subjects(
    subjects: list[Subject],
    statistics: list[dict[str, Any]],
    budget: Budget,
    dispersions: list[Mapping[str, float] | None],
) -> tuple[FeatureReport, ...]:
    learning = None in dispersions
    levels = {test: budget.level(test, learning=learning) for test in (*DRIFT_TESTS, *REPORTED_TESTS)}
    reports = []
    for subject, of_feature, dispersion in zip(subjects, statistics, dispersions, strict=True):
        reports.append(
            FeatureReport(
                name=subject.name,
                statistics=of_feature,
                tests=_test(subject, levels, dispersion, min_count=budget.windows.min_count),
                dispersion=dispersion,
            )
        )
    return tuple(reports)


def _test(
    subject: Subject, levels: Mapping[str, AlarmLevel], dispersion: Mapping[str, float] | None, *, min_count: int
) -> dict[str, DriftResult]:
    bins = WindowBins(
        kind=subject.kind,
        reference=subject.reference,
        window=subject.window,
        min_count=min_count,
        positions=subject.positions,
    )
    scales = dispersion or {"all_bins": 1.0}
    results = {}
    for name, test in (*DRIFT_TESTS.items(), *REPORTED_TESTS.items()):
        level = levels[name].scaled(scales.get(name, scales["all_bins"]))
        results[name] = test(bins, level)
    return results
