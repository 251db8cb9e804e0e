"""Two versions that served the same window: they differ where their rows do, whatever the baseline says."""

from __future__ import annotations

import numpy as np

from tests.support.examples import make_record, monitor_document, numeric_schema
from tests.support.schemas import validate
from tidegauge.baseline import BaselineProfile
from tidegauge.drift.results import NotMeasured
from tidegauge.monitor import parse_monitor
from tidegauge.report import WindowReport
from tidegauge.subjects import SCORES
from tidegauge.summaries.window_summary import WindowSummary, summarise
from tidegauge.verdict import judge
from tidegauge.versus import Versus, compare_versions
from tidegauge.windows import Window

RNG = np.random.default_rng(8)
PROFILE = BaselineProfile.fit(RNG.normal(size=(4000, 2)), numeric_schema(2))
MONITOR = parse_monitor(monitor_document(windows={"duration": "5s"}, drift={"thresholds": {"psi": 0.01}}))


def served(shift: float = 0.0, *, rows: int = 2000, weight: float = 1.0) -> WindowSummary:
    matrix = RNG.normal(size=(rows, 2)) + np.array([shift, 0.0])
    return summarise([make_record(features=matrix.tolist(), rows=rows, weight=weight)], [], PROFILE)


def compare(stable: WindowSummary, canary: WindowSummary) -> Versus:
    return compare_versions(monitor=MONITOR, profile=PROFILE, version="1", stable=stable, canary=canary)


def test_versions_that_are_given_the_same_traffic_do_not_differ() -> None:
    assert compare(served(), served()).differing == []


def test_both_may_have_drifted_from_the_baseline_together() -> None:
    assert compare(served(2.0), served(2.0)).differing == []


def test_what_only_one_of_them_is_given_is_found_in_its_feature() -> None:
    versus = compare(served(), served(1.0))
    assert versus.differing == ["f0"]
    assert versus.requests.requests == 1


def test_a_chance_difference_is_rare() -> None:
    """At the budget's level for one decision no pair of 200 should differ."""
    assert [compare(served(rows=300), served(rows=300)).differing for _ in range(200)] == [[]] * 200


def test_few_rows_cannot_say() -> None:
    results = compare(served(), served(rows=50)).tests["f0"]
    assert all(isinstance(result, NotMeasured) for result in results.values())


def test_a_stable_version_of_few_rows_is_too_uncertain_to_differ_from() -> None:
    for rows in (0, 3):
        versus = compare(served(rows=rows), served(0.5))
        assert versus.differing == []
        assert versus.tests["f1"]["location"] == NotMeasured(f"needs 100 rows, version 1 has {rows}")


def test_the_report_has_it_as_a_section() -> None:
    def report(summary: WindowSummary, versus: Versus | None) -> WindowReport:
        judged = judge(monitor=MONITOR, profile=PROFILE, version="2", window=Window(0, 5000), summary=summary)
        return WindowReport(**{**judged.__dict__, "versus": versus})

    canary = served(1.0)
    document = report(canary, compare(served(weight=4.0), canary)).to_document()
    validate("window-report.v1", document)
    assert document["versus"]["version"] == "1"
    assert document["versus"]["differing_features"] == ["f0"]
    assert [feature["name"] for feature in document["versus"]["features"]] == ["f0", "f1", SCORES]
    alone = report(canary, None).to_document()
    validate("window-report.v1", alone)
    assert alone["versus"] is None
