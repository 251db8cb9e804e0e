from __future__ import annotations

import orjson

from aggregator.told import told_of_report
from tests.aggregator.doors import judged


def test_of_a_report_the_log_and_the_metrics_get_what_they_tell_and_no_more() -> None:
    report = judged()
    told, document = told_of_report(report), report.to_document()
    for name in ("monitor", "version", "verdict", "drifted", "worst_feature"):
        assert told[name] == document[name]
    assert (told["start_ms"], told["end_ms"]) == (document["window"]["start_ms"], document["window"]["end_ms"])
    assert (told["window_requests"], told["drifted_features"]) == (100, len(document["drifted_features"]))
    assert (told["completeness"], told["outlier_rate"]) == (1.0, document["outliers"]["rate"])
    assert len(orjson.dumps(told)) < 1_000


def test_the_worst_effects_are_the_largest_over_the_features_whatever_their_sign() -> None:
    report = judged()
    features = report.to_document()["features"]
    sizes = [abs(feature["tests"]["jensen_shannon"]["effect"]) for feature in features]
    assert told_of_report(report)["worst_effects"]["jensen_shannon"] == max(sizes)
