"""The verdict on one closed window as it is published: WindowReport, its key and its document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson

from tidegauge.drift.results import DriftResult, Measured
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.summaries.served_account import Completeness
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
