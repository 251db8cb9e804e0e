"""What was seen, marked against what is known: the report, what is wrong with it, and the summary for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from localsystem.demo.plan import WATERMARK_S, WINDOW_S, Schedule, Traffic
from localsystem.demo.replay import Progress
from localsystem.demo.watch import SeenRecord, SeenReport
from tidegauge.records import Account

Report = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """All that a run has left behind. start_ms: the first request's window, UTC epoch."""

    schedule: Schedule
    traffic: Traffic
    progress: Progress
    start_ms: int
    records: Mapping[str, SeenRecord]
    accounts: Sequence[Account]
    reports: Sequence[SeenReport]
    seconds: float

    @property
    def drift_ms(self) -> int:
        return self.start_ms + 1000 * self.schedule.drift_after_s

    @property
    def end_ms(self) -> int:
        return self.start_ms + 1000 * self.schedule.traffic_s

    @property
    def traffic_reports(self) -> list[SeenReport]:
        """Of the windows in which there was traffic."""
        return [report for report in self.reports if report.start_ms < self.end_ms and report.end_ms > self.start_ms]


def make_report(seen: Seen) -> Report:
    return {
        "requests": {"served": seen.progress.answered - seen.progress.failed, "failed": seen.progress.failed},
        "records": {
            "acknowledged": sum(account.acknowledged for account in seen.accounts),
            "dropped": sum(sum(account.dropped.values()) for account in seen.accounts),
            "completeness": _completeness(seen.traffic_reports),
        },
        "outliers": _outliers(seen),
        "windows": {"closed": len(seen.traffic_reports)},
        "drift": _drift(seen),
        "added_latency_ms": _added_latency(list(seen.records.values())),
        "seconds": round(seen.seconds, 1),
    }


def _completeness(reports: Sequence[SeenReport]) -> float | None:
    """Records seen / requests served, over all windows; None where a window cannot say or there is none."""
    windows = [report.document["completeness"] for report in reports]
    if not windows or any(window["served"] is None for window in windows):
        return None
    served = sum(window["served"] for window in windows)
    return sum(window["seen"] for window in windows) / served if served else None


def _outliers(seen: Seen) -> Report:
    """Against the data set's labels, on the traffic before the drift, joined by request id."""
    count = seen.schedule.first_drifted
    anomaly = seen.traffic.anomaly[:count]
    records = [seen.records.get(identity) for identity in seen.traffic.ids[:count]]
    flagged = np.array([record is not None and record.outlier for record in records], dtype=bool)
    return {
        "true": int(anomaly.sum()),
        "flagged": int(flagged.sum()),
        "recall": _share(flagged & anomaly, anomaly),
        "false_alarm_rate": _share(flagged & ~anomaly, ~anomaly),
    }


def _drift(seen: Seen) -> Report:
    after = [report for report in seen.traffic_reports if report.start_ms >= seen.drift_ms]
    before = [report for report in seen.traffic_reports if report.start_ms < seen.drift_ms]
    detected_s = min((report.read_at_s for report in after if report.drifted_features), default=None)
    return {
        "injected_at": _instant(seen.drift_ms / 1000),
        "first_detected_at": None if detected_s is None else _instant(detected_s),
        "detection_delay_s": None if detected_s is None else round(detected_s - seen.drift_ms / 1000, 2),
        "features_injected": sorted(seen.traffic.scenario.features),
        "features_found": sorted({name for report in after for name in report.drifted_features}),
        "false_alarms_before": sum(bool(report.drifted_features) for report in before),
    }


def _added_latency(records: Sequence[SeenRecord]) -> Report:
    if not records:
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile([record.added_ms for record in records], [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def _share(part: np.ndarray, whole: np.ndarray) -> float | None:
    return round(int(part.sum()) / int(whole.sum()), 5) if whole.any() else None


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def problems(report: Report, seen: Seen, *, repeated: int, unreadable: Mapping[str, int]) -> list[str]:
    """One line for each thing that is not as it must be; empty when the main job worked."""
    records, drift = report["records"], report["drift"]
    missing = [identity for identity in seen.traffic.ids if identity not in seen.records]
    windows = seen.schedule.traffic_s // WINDOW_S
    failures = ", ".join(f"{count} x {what}" for what, count in seen.progress.failures.items())
    checks = [
        (report["requests"]["failed"] > 0, f"{report['requests']['failed']} requests failed: {failures}"),
        (records["dropped"] > 0, f"{records['dropped']} records were dropped"),
        (bool(missing), f"{len(missing)} requests have no record in Kafka, the first is {missing[:1]}"),
        (repeated > 0, f"{repeated} records came twice"),
        (bool(unreadable), f"messages that are no records: {dict(unreadable)}"),
        (report["windows"]["closed"] < windows, f"{report['windows']['closed']} of {windows} windows closed"),
        (records["completeness"] != 1.0, f"completeness is {records['completeness']}, not 1.0"),
        (
            drift["features_found"] != drift["features_injected"],
            f"drift was put into {_list(drift['features_injected'])} and found in {_list(drift['features_found'])}",
        ),
        (drift["false_alarms_before"] > 0, f"{drift['false_alarms_before']} false alarms before the drift"),
    ]
    return [text for is_wrong, text in checks if is_wrong]


def summary(report: Report) -> list[str]:
    requests, records, outliers = report["requests"], report["records"], report["outliers"]
    drift, added = report["drift"], report["added_latency_ms"]
    delay = drift["detection_delay_s"]
    return [
        f"Served {requests['served']:,} requests, {requests['failed']} failed; "
        f"monitoring added {_number(added['p50'])} ms to the median answer ({_number(added['p99'])} ms at p99).",
        f"Kafka acknowledged {records['acknowledged']:,} records, {records['dropped']} were dropped.",
        f"The verdicts on {report['windows']['closed']} windows of {WINDOW_S} s saw "
        f"{_percent(records['completeness'])} of the traffic.",
        f"Outliers: flagged {_percent(outliers['recall'])} of {outliers['true']:,} known anomalies, and "
        f"{_percent(outliers['false_alarm_rate'])} of the normal rows.",
        f"Drift: put into {_list(drift['features_injected'])}, found in {_list(drift['features_found'])}"
        + (f", {delay:.1f} s after it began (window {WINDOW_S} s, watermark {WATERMARK_S} s)" if delay else "")
        + f"; {drift['false_alarms_before']} false alarms before.",
    ]


def _list(names: Sequence[str]) -> str:
    return " and ".join(names) or "no feature"


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None else f"{100 * share:.4g} %"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
