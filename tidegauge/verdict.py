"""(monitor, baseline, summary of a closed window) -> WindowReport: the statistics, the tests and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.budget import Budget, Spending, SpendingState
from tidegauge.causes import causes_of
from tidegauge.dispersion import LEARNING_PAIRS
from tidegauge.drift import DRIFT_TESTS, REPORTED_TESTS, DriftTest, run_tests
from tidegauge.drift.own import own_test
from tidegauge.drift.results import Measured
from tidegauge.drift.window_bins import Array, FeatureBins, WindowBins
from tidegauge.drift_spec import Drift
from tidegauge.joint import run_joint_tests
from tidegauge.joint.evidence import Evidence
from tidegauge.memory import MonitorMemory
from tidegauge.monitor import ModelMonitor
from tidegauge.report import FeatureReport, WindowReport
from tidegauge.statistics import feature_statistics, window_statistics
from tidegauge.subjects import Subject, subjects_of
from tidegauge.summaries.window_summary import WindowSummary
from tidegauge.windows import Window
from tidegauge.withheld import withhold


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
    subjects = subjects_of(profile, summary, monitor.outliers.detectors)
    bins = [subject.bins for subject in subjects]
    withheld = [subject.why_withheld(monitor.capture) for subject in subjects]
    budget = Budget.over(max(withheld.count(None), 1), drift=monitor.drift, windows=monitor.windows)
    dispersions, rows = _dispersions(memory, bins), _rows(bins)
    found = _judge_subjects(subjects, feature_statistics(monitor, profile, summary), budget, dispersions)
    judged = [withhold(report, why) for report, why in zip(found, withheld, strict=True)]
    features = tuple(one for one in judged if one.kind == "feature")
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
        spending=_spending(budget, memory, learning=dispersions is None, rows=rows),
        statistics=window_statistics(monitor, profile, summary),
        predictions=tuple(one for one in judged if one.kind == "prediction"),
        scores=next((one for one in judged if one.kind == "scores"), None),
        joint=run_joint_tests(_evidence(profile, summary, features, budget, dispersions, rows=rows)),
        causes=causes_of(profile, summary, judged),
        profile=profile,
        bins=bins,
    )


def _rows(bins: Sequence[FeatureBins]) -> float:
    """Of a window whose records have no values, those with scores, which come last."""
    return float(bins[0].window.sum()) or float(bins[-1].window.sum())


def _spending(budget: Budget, memory: MonitorMemory | None, *, learning: bool, rows: float) -> Spending:
    allowed = budget.drift.false_alarms
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


def _dispersions(memory: MonitorMemory | None, bins: Sequence[FeatureBins]) -> Mapping[str, Array] | None:
    """Of the location test, and of the tests over all bins; None while they are being learnt."""
    if memory is None:
        return {"all_bins": np.ones(len(bins)), "location": np.ones(len(bins))}
    if memory.dispersion.learning or not memory.dispersion.knows(bins):
        return None
    return {"all_bins": memory.dispersion.for_all_bins(), "location": memory.dispersion.for_location()}


def _judge_subjects(
    subjects: Sequence[Subject],
    statistics: Sequence[Mapping[str, Any]],
    budget: Budget,
    dispersions: Mapping[str, Array] | None,
) -> tuple[FeatureReport, ...]:
    """statistics: of the features, which come first."""
    tests = _tests(budget.drift)
    scales: Mapping[str, Any] = dispersions or {"all_bins": 1.0}
    levels = {
        test: budget.level(test, learning=dispersions is None).scaled(scales.get(test, scales["all_bins"]))
        for test in tests
    }
    bins = WindowBins([subject.bins for subject in subjects], min_count=budget.windows.min_count)
    results = run_tests(tests, bins, levels)
    reported = [None] * len(subjects) if dispersions is None else _by_subject(dispersions)
    return tuple(
        FeatureReport(subject.bins.name, of_subject or {}, found, dispersion, subject.kind)
        for subject, of_subject, found, dispersion in zip_longest(subjects, statistics, results, reported)
    )


def _evidence(
    profile: BaselineProfile,
    summary: WindowSummary,
    features: Sequence[FeatureReport],
    budget: Budget,
    dispersions: Mapping[str, Array] | None,
    *,
    rows: float,
) -> Evidence:
    results = {feature.name: feature.tests["location"] for feature in features}
    level = budget.level("location")
    return Evidence(
        profile=profile,
        summary=summary,
        locations={name: result.effect for name, result in results.items() if isinstance(result, Measured)},
        rows=rows,
        min_count=budget.windows.min_count,
        baseline=level.baseline,
        minimum_shift=level.minimum_effect,
        dispersion=1.0 if dispersions is None else float(dispersions["location"][: len(features)].max()),
    )


def _tests(drift: Drift) -> dict[str, DriftTest]:
    """The deciding ones first."""
    decide = {name: own_test(name, decides=True) for name in drift.own.decide}
    report = {name: own_test(name, decides=False) for name in drift.own.report}
    return {**DRIFT_TESTS, **decide, **REPORTED_TESTS, **report}


def _by_subject(columns: Mapping[str, Array]) -> list[dict[str, float]]:
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, one, strict=True)) for one in values]
