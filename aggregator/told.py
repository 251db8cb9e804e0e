"""
What the log and the metrics tell of a report. It is taken from it where it is made: reading a long text again for a few
of its words would hold up the next micro-batch.
"""

from __future__ import annotations

from typing import Any

from tidegauge.report import WindowReport
from tidegauge.report_document import outliers


def told_of_report(report: WindowReport) -> dict[str, Any]:
    """worst_effects: by test, the largest over the features."""
    drifted = report.drifted_features
    return {
        "monitor": report.monitor,
        "version": report.version,
        "start_ms": report.window.start_ms,
        "end_ms": report.window.end_ms,
        "verdict": report.verdict,
        "drifted": bool(report.drifted),
        "drifted_features": len(drifted),
        "worst_feature": drifted[0] if drifted else None,
        "window_requests": report.requests.requests,
        "completeness": report.completeness.share,
        "outlier_rate": outliers(report.requests)["rate"],
        "worst_effects": dict(report.worst_effects),
    }
