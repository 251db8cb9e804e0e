"""The verdict on a window: complete, in a fixed form, and the same however its parts came together."""

from __future__ import annotations

import json
from functools import reduce
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from tests.support.examples import (
    make_heartbeat,
    make_record,
    mixed_profile,
    mixed_rows,
    monitor_document,
    numeric_schema,
)
from tests.support.schemas import validate
from tidegauge.baseline import BaselineProfile
from tidegauge.budget import Budget
from tidegauge.drift import DRIFT_TESTS, REPORTED_TESTS
from tidegauge.drift.results import Measured, NotMeasured, Results
from tidegauge.errors import IncompatibleSummaries
from tidegauge.features import Matrix
from tidegauge.monitor import parse_monitor
from tidegauge.records import InferenceRecord
from tidegauge.report import FeatureReport, WindowReport
from tidegauge.summaries.window_summary import WindowSummary, summarise
from tidegauge.verdict import judge
from tidegauge.windows import Window

PROFILE = mixed_profile()
MONITOR = parse_monitor(monitor_document(windows={"duration": "5s"}))
WINDOW = Window(1_700_000_000_000, 1_700_000_005_000)
BEATS = [make_heartbeat(time_ms=WINDOW.start_ms, seq=0), make_heartbeat(time_ms=WINDOW.end_ms, seq=400)]


def records(matrix: Matrix, profile: BaselineProfile = PROFILE) -> list[InferenceRecord]:
    rows = profile.schema.decode_rows(matrix)
    return [make_record(seq=number + 1, features=[row], outlier=[number % 100 == 0]) for number, row in enumerate(rows)]


def verdict(summary: WindowSummary, profile: BaselineProfile = PROFILE, **changes: Any) -> WindowReport:
    arguments: dict[str, Any] = {"monitor": MONITOR, "version": "1", "window": WINDOW} | changes
    return judge(profile=profile, summary=summary, **arguments)


def usual(rows: int = 400) -> WindowSummary:
    return summarise(records(mixed_rows(rows, seed=2)), BEATS, PROFILE)


def changed() -> WindowSummary:
    """Taller by two standard deviations, and a third of the colours unknown."""
    matrix = mixed_rows(400, seed=2)
    matrix[:, 0] += 20.0
    matrix[::3, 1] = -1.0
    return summarise(records(matrix), BEATS, PROFILE)


def test_usual_traffic_has_not_drifted() -> None:
    report = verdict(usual())
    assert report.drifted_features == []
    document = report.to_document()
    assert (document["drifted"], document["worst_feature"]) == (False, None)
    assert document["completeness"] == {"seen": 400, "served": 400, "share": 1.0}
    assert document["outliers"] == {"rows": 400, "flagged": 4, "rate": 0.01}
    assert document["statuses"] == {"200": 400}


def test_changed_features_are_named_the_least_probable_first() -> None:
    report = verdict(changed())
    assert report.drifted_features == ["height", "colour"]
    p_values = {feature.name: feature.log_p_value for feature in report.features}
    assert p_values["height"] < p_values["colour"] < p_values["open"]
    assert report.to_document()["worst_feature"] == "height"
    assert [feature.drifted for feature in report.features] == [True, True, False]


@pytest.mark.parametrize("summary", [usual(), changed(), usual(0), usual(20)], ids=["usual", "changed", "empty", "few"])
def test_the_document_fits_its_schema_and_is_the_encoded_one(summary: WindowSummary) -> None:
    report = verdict(summary)
    validate("window-report.v1", report.to_document())
    assert json.loads(report.encode()) == report.to_document()


def test_every_feature_has_every_test_with_its_level() -> None:
    report = verdict(usual())
    assert [feature.name for feature in report.features] == ["height", "colour", "open"]
    for feature in report.features:
        assert list(feature.tests) == [*DRIFT_TESTS, *REPORTED_TESTS]
        for test, result in feature.tests.items():
            if isinstance(result, Measured):
                level = Budget.over(len(report.judged), drift=MONITOR.drift, windows=MONITOR.windows).level(test)
                assert result.threshold == level.window
                assert (result.threshold is not None) == (test in DRIFT_TESTS)
    assert report.features[1].tests["location"] == NotMeasured("categories have no location")


def test_statistics_are_of_the_windows_values() -> None:
    matrix = mixed_rows(400, seed=2)
    height, colour, door = verdict(usual()).features
    present = matrix[~np.isnan(matrix[:, 0]), 0]
    expected = {
        "count": len(present),
        "missing": 400 - len(present),
        "mean": pytest.approx(present.mean()),
        "standard_deviation": pytest.approx(present.std(ddof=1)),
        "min": present.min(),
        "max": present.max(),
    }
    assert {name: height.statistics[name] for name in expected} == expected
    assert (colour.statistics["count"], colour.statistics["missing"]) == (400, 0)
    assert [colour.statistics[name] for name in ("mean", "standard_deviation", "min", "max")] == [None] * 4
    assert door.statistics["mean"] == pytest.approx(matrix[:, 2].mean())


def test_a_window_without_rows_says_that_it_cannot_say() -> None:
    document = verdict(summarise([], BEATS, PROFILE)).to_document()
    assert document["drifted"] is False
    assert document["outliers"] == {"rows": 0, "flagged": 0, "rate": None}
    assert document["completeness"] == {"seen": 0, "served": 400, "share": 0.0}
    for feature in document["features"]:
        assert feature["statistics"]["mean"] is None
        assert all(not test["measured"] and test["why"] for test in feature["tests"].values())


def test_a_feature_without_any_measured_test_is_not_drifted() -> None:
    tests = Results.given({"jensen_shannon": NotMeasured("few"), "location": NotMeasured("few")})
    feature = FeatureReport("x", {}, tests)
    assert not feature.drifted
    assert feature.log_p_value == 0.0


def test_unknown_completeness_is_null() -> None:
    document = verdict(summarise(records(mixed_rows(200)), BEATS[:1], PROFILE)).to_document()
    assert document["completeness"] == {"seen": 200, "served": None, "share": None}


def test_the_verdict_is_the_same_in_every_order_of_merging() -> None:
    matrix = mixed_rows(400, seed=2)
    matrix[:, 0] += 3.0
    some = records(matrix)
    parts = [
        summarise(some[:150], BEATS[:1], PROFILE),
        summarise(some[150:151], [], PROFILE),
        summarise(some[151:], BEATS[1:], PROFILE),
        summarise([], [], PROFILE),
    ]
    documents = [verdict(reduce(WindowSummary.merge, order)).to_document() for order in permutations(parts)]
    tests = [[feature["tests"] for feature in document["features"]] for document in documents]
    assert all(other == tests[0] for other in tests)
    whole = _comparable(verdict(parts[0].merge(parts[1]).merge(parts[2])).to_document())
    assert all(_comparable(document) == whole for document in documents)


def _comparable(value: Any) -> Any:
    """Without what is measured by sketches, which keep other values in another order; sums to 9 digits."""
    if isinstance(value, dict):
        return {name: _comparable(item) for name, item in value.items() if name not in ("percentiles", "iqr")}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_the_key_names_what_a_report_is_of_and_which_revision() -> None:
    report = verdict(usual(), version="7", revision=2)
    assert report.key == f"doors/7/{PROFILE.content_id[:12]}/1700000000000/5000/2"
    document = report.to_document()
    assert (document["version"], document["revision"], document["baseline"]) == ("7", 2, PROFILE.content_id)
    assert document["window"] == {"start_ms": WINDOW.start_ms, "end_ms": WINDOW.end_ms, "duration_ms": 5000}


def test_reports_of_other_windows_versions_and_revisions_have_other_keys() -> None:
    summary = usual()
    next_window, longer = Window(WINDOW.end_ms, WINDOW.end_ms + 5000), Window(WINDOW.start_ms, WINDOW.end_ms + 5000)
    changes: list[dict[str, Any]] = [{}, {"version": "2"}, {"revision": 1}, {"window": next_window}, {"window": longer}]
    assert len({verdict(summary, **change).key for change in changes}) == len(changes)


def test_a_summary_of_another_baselines_bins_is_refused() -> None:
    other = BaselineProfile.fit(np.random.default_rng(1).normal(size=(300, 2)), numeric_schema(2))
    with pytest.raises(IncompatibleSummaries, match="bins differs"):
        verdict(usual(), profile=other)


def test_the_outliers_that_the_baseline_was_told_of_are_no_drift() -> None:
    """They are left out of the scoring reference and kept in the drift reference: live traffic has them too."""
    rng = np.random.default_rng(5)

    def traffic(rows: int) -> tuple[Matrix, Any]:
        matrix, outlier = rng.normal(size=(rows, 2)), rng.random(rows) < 0.08
        matrix[outlier] += 6.0
        return matrix, outlier

    matrix, outlier = traffic(10_000)
    profile = BaselineProfile.fit(matrix, numeric_schema(2), outlier=outlier)
    summary = summarise(records(traffic(1000)[0], profile), [], profile)
    assert verdict(summary, profile=profile).drifted_features == []


def test_huge_values_leave_a_report_that_json_can_hold() -> None:
    profile = BaselineProfile.fit(np.random.default_rng(6).normal(size=(300, 1)), numeric_schema(1))
    summary = summarise(records(np.array([[1e308], [-1e308]] * 100), profile), [], profile)
    report = verdict(summary, profile=profile)
    validate("window-report.v1", json.loads(report.encode()))
    assert report.drifted_features == ["f0"]
    assert report.features[0].statistics["standard_deviation"] is None
