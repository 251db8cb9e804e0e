"""(monitor, baseline, summary of a closed window) -> WindowReport: the statistics, the tests and what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import orjson

from tidegauge.baseline import BaselineProfile
from tidegauge.budget import alarm_level
from tidegauge.drift import DRIFT_TESTS
from tidegauge.drift.results import DriftResult, Measured
from tidegauge.drift.window_bins import WindowBins
from tidegauge.errors import IncompatibleSummaries
from tidegauge.features import Kind
from tidegauge.monitor import ModelMonitor
from tidegauge.summaries.moments import Moments
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.summaries.served_account import Completeness
from tidegauge.summaries.window_summary import WindowSummary
from tidegauge.windows import Window

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class FeatureReport:
    """
    statistics: count, missing, mean, standard_deviation, min, max; None where the values do not give one. Categories
    have a count and missing only: their codes are no quantities.
    """

    name: str
    statistics: Mapping[str, float | int | None]
    tests: Mapping[str, DriftResult]

    @property
    def drifted(self) -> bool:
        return any(isinstance(result, Measured) and result.drifted for result in self.tests.values())

    @property
    def smallest_p_value(self) -> float:
        return min((result.p_value for result in self.tests.values() if isinstance(result, Measured)), default=1.0)


@dataclass(frozen=True)
class WindowReport:
    """The verdict on one closed window. Writing it twice under its key is writing it once."""

    monitor: str
    model: str
    version: str
    baseline: str
    window: Window
    revision: int
    requests: RequestCounts
    completeness: Completeness
    features: tuple[FeatureReport, ...]

    @cached_property
    def key(self) -> str:
        return "/".join(
            (
                self.monitor,
                self.version,
                self.baseline[:12],
                str(self.window.start_ms),
                str(self.window.duration_ms),
                str(self.revision),
            )
        )

    @property
    def drifted_features(self) -> list[str]:
        """Least probable first."""
        drifted = [feature for feature in self.features if feature.drifted]
        return [feature.name for feature in sorted(drifted, key=lambda feature: feature.smallest_p_value)]

    def to_document(self) -> dict[str, Any]:
        """As docs/schemas/window-report.v1.json says."""
        drifted = self.drifted_features
        return {
            "v": VERSION,
            "kind": "report",
            "monitor": self.monitor,
            "model": self.model,
            "version": self.version,
            "baseline": self.baseline,
            "window": {
                "start_ms": self.window.start_ms,
                "end_ms": self.window.end_ms,
                "duration_ms": self.window.duration_ms,
            },
            "revision": self.revision,
            "drifted": bool(drifted),
            "drifted_features": drifted,
            "worst_feature": drifted[0] if drifted else None,
            "requests": self.requests.requests,
            "statuses": dict(self.requests.statuses),
            "issues": dict(self.requests.issues),
            "outliers": {
                "rows": self.requests.rows,
                "flagged": self.requests.flagged,
                "rate": self.requests.flagged / self.requests.rows if self.requests.rows else None,
            },
            "completeness": {
                "seen": self.completeness.seen,
                "served": self.completeness.served,
                "share": self.completeness.share,
            },
            "features": [_feature_to_document(feature) for feature in self.features],
        }

    def encode(self) -> bytes:
        return orjson.dumps(self.to_document())


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


def _feature_to_document(feature: FeatureReport) -> dict[str, Any]:
    return {
        "name": feature.name,
        "drifted": feature.drifted,
        "statistics": dict(feature.statistics),
        "tests": {name: _result_to_document(result) for name, result in feature.tests.items()},
    }


def _result_to_document(result: DriftResult) -> dict[str, Any]:
    if not isinstance(result, Measured):
        return {"measured": False, "why": result.why}
    return {
        "measured": True,
        "statistic": result.statistic,
        "p_value": result.p_value,
        "threshold": result.threshold,
        "effect": result.effect,
        "unit": result.unit,
        "drifted": result.drifted,
    }
