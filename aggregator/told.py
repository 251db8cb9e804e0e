"""What the log and the metrics tell of a report: little of it, so that most of its text is only passed over."""

from __future__ import annotations

from typing import Any, Final, NotRequired, TypedDict, cast

import msgspec


class _Window(TypedDict):
    start_ms: int
    end_ms: int


class _Completeness(TypedDict):
    share: float | None


class _Outliers(TypedDict):
    rate: float | None


class _Result(TypedDict):
    measured: bool
    effect: NotRequired[float | None]


class _Feature(TypedDict):
    tests: dict[str, _Result]


class _Report(TypedDict):
    monitor: str
    version: str
    window: _Window
    verdict: str
    drifted: bool
    drifted_features: list[str]
    worst_feature: str | None
    requests: int
    completeness: _Completeness
    outliers: _Outliers
    features: list[_Feature]


_REPORT: Final = msgspec.json.Decoder(_Report)


def told_of_report(value: bytes) -> dict[str, Any]:
    """These fields of the document and no others."""
    return cast("dict[str, Any]", _REPORT.decode(value))
