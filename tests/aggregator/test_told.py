from __future__ import annotations

import math

import orjson

from aggregator.told import told_of_report
from tests.support.schemas import DATA

REPORT = orjson.loads((DATA / "reports" / "report-v1.json").read_bytes())


def test_of_a_report_the_log_and_the_metrics_get_what_they_tell_and_no_more() -> None:
    told = told_of_report(REPORT)
    assert {name: told[name] for name in ("monitor", "verdict", "completeness")} == {
        "monitor": REPORT["monitor"],
        "verdict": REPORT["verdict"],
        "completeness": REPORT["completeness"]["share"],
    }
    assert (told["end_ms"], told["window_requests"]) == (REPORT["window"]["end_ms"], REPORT["requests"])
    assert len(orjson.dumps(told)) < 1_000


def test_the_largest_effect_counts_whatever_its_sign_and_one_that_is_no_number_does_not() -> None:
    features = [
        {"tests": {"location": {"measured": True, "effect": -0.5}, "own": {"measured": True, "effect": math.nan}}},
        {"tests": {"location": {"measured": True, "effect": 0.25}, "own": {"measured": False, "why": "too few"}}},
    ]
    assert told_of_report(REPORT | {"features": features})["worst_effects"] == {"location": 0.5}
