"""
What the log and the metrics tell of a report. It is taken from it where it is made: reading a long text again for a few
of its words would hold up the next micro-batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def told_of_report(document: Mapping[str, Any]) -> dict[str, Any]:
    """document: as WindowReport.to_document has it. worst_effects: by test, the largest over the features."""
    return {
        "monitor": document["monitor"],
        "version": document["version"],
        "start_ms": document["window"]["start_ms"],
        "end_ms": document["window"]["end_ms"],
        "verdict": document["verdict"],
        "drifted": document["drifted"],
        "drifted_features": len(document["drifted_features"]),
        "worst_feature": document["worst_feature"],
        "window_requests": document["requests"],
        "completeness": document["completeness"]["share"],
        "outlier_rate": document["outliers"]["rate"],
        "worst_effects": _worst_effects(document),
    }


def _worst_effects(document: Mapping[str, Any]) -> dict[str, float]:
    worst: dict[str, float] = {}
    for feature in document["features"]:
        for test, result in feature["tests"].items():
            # A user's own test may have no effect: NaN.
            if result["measured"] and math.isfinite(result["effect"]):
                worst[test] = max(worst.get(test, 0.0), abs(result["effect"]))
    return worst
