"""Documents of reports as rows: the same columns in the SQL store and in Parquet files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def key_of(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "monitor": document["monitor"],
        "version": document["version"],
        "baseline": document["baseline"],
        "window_start_ms": document["window"]["start_ms"],
        "window_duration_ms": document["window"]["duration_ms"],
        "revision": document["revision"],
    }


def report_row(document: Mapping[str, Any]) -> dict[str, Any]:
    return key_of(document) | {
        "window_end_ms": document["window"]["end_ms"],
        "model": document["model"],
        "drifted": document["drifted"],
        "worst_feature": document["worst_feature"],
        "requests": document["requests"],
        "rows": document["outliers"]["rows"],
        "flagged": document["outliers"]["flagged"],
        "seen": document["completeness"]["seen"],
        "served": document["completeness"]["served"],
        "share": document["completeness"]["share"],
        "document": orjson.dumps(document).decode(),
    }


def feature_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        key_of(document)
        | {
            "feature": feature["name"],
            "drifted": feature["drifted"],
            "statistics": orjson.dumps(feature["statistics"]).decode(),
            "tests": orjson.dumps(feature["tests"]).decode(),
        }
        for feature in document["features"]
    ]
