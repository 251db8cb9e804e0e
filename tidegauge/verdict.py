"""(monitor, baseline, summary of a closed window) -> WindowReport: the statistics, the tests and what follows."""

from __future__ import annotations

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.budget import alarm_level
from tidegauge.drift import DRIFT_TESTS
from tidegauge.drift.window_bins import WindowBins
from tidegauge.errors import IncompatibleSummaries
from tidegauge.features import Kind
from tidegauge.monitor import ModelMonitor
from tidegauge.report import FeatureReport, WindowReport
from tidegauge.summaries.moments import Moments
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
) -> WindowReport:
    """Raises IncompatibleSummaries when the summary's bins are not the profile's."""
    return WindowReport(
        monitor=monitor.name,
        model=monitor.model.name,
        version=version,
        baseline=profile.content_id,
        window=window,
        revision=revision,
        requests=summary.requests,
        completeness=summary.account.completeness(window),
        features=_judge_features(monitor, profile, summary),
    )


def _judge_features(
    monitor: ModelMonitor, profile: BaselineProfile, summary: WindowSummary
) -> tuple[FeatureReport, ...]:
    levels = {
        test: alarm_level(test, drift=monitor.drift, windows=monitor.windows, features=len(profile.schema))
        for test in DRIFT_TESTS
    }
    bounds = tuple(np.cumsum([0, *(len(reference.counts) for reference in profile.references)]).tolist())
    if summary.bins.bounds != bounds:
        raise IncompatibleSummaries("bins", bounds, summary.bins.bounds)
    statistics = _statistics(summary.moments)
    counts = summary.bins.by_feature()
    reports = []
    for position, feature in enumerate(profile.schema.features):
        bins = WindowBins(
            kind=feature.kind,
            reference=profile.references[position].counts,
            window=counts[position],
            min_count=monitor.windows.min_count,
        )
        tests = {name: test(bins, levels[name]) for name, test in DRIFT_TESTS.items()}
        reports.append(FeatureReport(feature.name, _of_kind(feature.kind, statistics[position]), tests))
    return tuple(reports)


def _of_kind(kind: Kind, statistics: dict[str, float | int | None]) -> dict[str, float | int | None]:
    if kind != "categorical":
        return statistics
    return {name: value if name in ("count", "missing") else None for name, value in statistics.items()}


def _statistics(moments: Moments) -> list[dict[str, float | int | None]]:
    columns = {
        "count": moments.count.tolist(),
        "missing": moments.missing.tolist(),
        "mean": np.where(moments.count > 0, moments.mean, np.nan).tolist(),
        "standard_deviation": moments.standard_deviation().tolist(),
        "min": moments.low.tolist(),
        "max": moments.high.tolist(),
    }
    return [
        {name: value if np.isfinite(value) else None for name, value in zip(columns, values, strict=True)}
        for values in zip(*columns.values(), strict=True)
    ]
