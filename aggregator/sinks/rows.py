"""Reports as rows: the same columns in the SQL store and in Parquet files."""

from __future__ import annotations

from typing import Any, Final

import msgspec


class Window(msgspec.Struct):
    start_ms: int
    end_ms: int
    duration_ms: int


class Outliers(msgspec.Struct):
    rows: int
    flagged: int


class Completeness(msgspec.Struct):
    seen: int
    served: int | None
    share: float | None


class Feature(msgspec.Struct):
    """statistics, tests: the report's own text, which need not be understood to be stored."""

    name: str
    drifted: bool
    statistics: msgspec.Raw
    tests: msgspec.Raw


class Report(msgspec.Struct):
    """What of a report has columns of its own; the rest is passed over, at a third of the time of reading all."""

    monitor: str
    model: str
    version: str
    baseline: str
    window: Window
    revision: int
    drifted: bool
    worst_feature: str | None
    requests: int
    outliers: Outliers
    completeness: Completeness
    features: list[Feature]


_REPORT: Final = msgspec.json.Decoder(Report)


def read_report(value: bytes) -> Report:
    """Raises ValueError for what is no report."""
    try:
        return _REPORT.decode(value)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def key_of(report: Report) -> dict[str, Any]:
    return {
        "monitor": report.monitor,
        "version": report.version,
        "baseline": report.baseline,
        "window_start_ms": report.window.start_ms,
        "window_duration_ms": report.window.duration_ms,
        "revision": report.revision,
    }


def report_row(report: Report, value: bytes) -> dict[str, Any]:
    """value: the report as it was read."""
    return key_of(report) | {
        "window_end_ms": report.window.end_ms,
        "model": report.model,
        "drifted": report.drifted,
        "worst_feature": report.worst_feature,
        "requests": report.requests,
        "rows": report.outliers.rows,
        "flagged": report.outliers.flagged,
        "seen": report.completeness.seen,
        "served": report.completeness.served,
        "share": report.completeness.share,
        "document": value.decode(),
    }


def feature_rows(report: Report) -> list[dict[str, Any]]:
    key = key_of(report)
    return [
        key
        | {
            "feature": feature.name,
            "drifted": feature.drifted,
            "statistics": bytes(feature.statistics).decode(),
            "tests": bytes(feature.tests).decode(),
        }
        for feature in report.features
    ]
