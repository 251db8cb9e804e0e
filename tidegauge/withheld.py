"""What the monitor wishes not to know: features and answers that are redacted are not judged, and it is said why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tidegauge.drift.results import NotMeasured
from tidegauge.report import FeatureReport


def withhold(report: FeatureReport, why: str | None) -> FeatureReport:
    """What stands in the place of withheld values, missing ones or tokens, is neither counted nor tested."""
    if why is None:
        return report
    tests = dict.fromkeys(report.tests, NotMeasured(why))
    return replace(report, statistics=_nothing(report.statistics, why), tests=tests, withheld=why)


def _nothing(statistics: Mapping[str, Any], why: str) -> dict[str, Any]:
    return {name: _empty(name, value, why) for name, value in statistics.items()}


def _empty(name: str, value: Any, why: str) -> Any:
    if name in ("count", "missing"):
        return 0
    if name == "weight":
        return 0.0
    return _not_measured(value, why) if name in ("range", "own") else None


def _not_measured(names: Iterable[str], why: str) -> dict[str, Any]:
    return {name: {"measured": False, "why": why} for name in names}
