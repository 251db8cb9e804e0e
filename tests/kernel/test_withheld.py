"""Verdicts where the monitor does not tell values: said so, nothing judged in their place, the rest as ever."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.support.examples import make_record, monitor_document, numeric_schema
from tests.support.schemas import validate
from tidegauge.baseline import BaselineProfile
from tidegauge.drift.results import Measured, NotMeasured
from tidegauge.features import Matrix
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.report import WindowReport
from tidegauge.scoring.scorer import Scorer
from tidegauge.summaries.window_summary import WindowSummary, summarise
from tidegauge.verdict import judge
from tidegauge.versus import compare_versions
from tidegauge.windows import Window

ROWS = 2000
WINDOW = Window(0, 15_000)


def matrix(seed: int, rows: int = ROWS) -> Matrix:
    return np.random.default_rng(seed).normal(size=(rows, 3))


PROFILE = BaselineProfile.fit(matrix(1), numeric_schema(3), predictions=matrix(1)[:, 0])


def monitor(**capture: Any) -> ModelMonitor:
    return parse_monitor(monitor_document(capture=capture))


def summary(rows: Matrix, *, told: bool = True) -> WindowSummary:
    """told: the record has values and predictions."""
    scored = Scorer(PROFILE).score(rows)
    return summarise(
        [
            make_record(
                rows=len(rows),
                features=rows.tolist() if told else None,
                predictions=rows[:, 0].tolist() if told else None,
                outlier=scored.outlier.tolist(),
                p_values={name: values.tolist() for name, values in scored.p_values.items()},
                scores={},
                top=[],
            )
        ],
        [],
        PROFILE,
    )


def report(rows: Matrix, *, told: bool = True, **capture: Any) -> WindowReport:
    found = judge(
        monitor=monitor(**capture), profile=PROFILE, version="1", window=WINDOW, summary=summary(rows, told=told)
    )
    validate("window-report.v1", found.to_document())
    return found


def test_a_redacted_feature_is_neither_counted_nor_tested_and_says_why() -> None:
    drifted = matrix(2) + np.array([3.0, 0.0, 0.0])
    dropped = drifted.copy()
    dropped[:, 0] = np.nan
    found = report(dropped, redact={"f0": "drop"})
    first, second, _ = found.features
    assert first.withheld == "redacted: capture.redact has drop"
    assert first.tests["jensen_shannon"] == NotMeasured(first.withheld)
    assert (first.statistics["count"], first.statistics["missing"], first.statistics["mean"]) == (0, 0, None)
    assert isinstance(second.tests["jensen_shannon"], Measured)
    assert "f0" not in found.drifted
    assert found.to_document()["features"][0]["withheld"] == first.withheld
    assert "withheld" not in found.to_document()["features"][1]


def test_text_and_page_say_what_is_withheld_and_why() -> None:
    found = report(matrix(2), redact={"f0": {"hash": "KEY"}})
    assert "withheld" in str(found)
    assert "redacted: capture.redact has hash" in found.to_html()


def test_what_is_withheld_takes_no_share_of_the_budget() -> None:
    assert report(matrix(2), redact={"f0": "drop"}).spending.per_decision > report(matrix(2)).spending.per_decision


def test_a_bucketed_feature_is_judged() -> None:
    assert report(matrix(2) + 1.0, redact={"f0": "bucket"}).features[0].drifted


def test_of_scores_alone_the_scores_are_judged() -> None:
    usual = report(matrix(3), told=False, payload="scores")
    assert usual.verdict == "no_drift"
    assert all(feature.withheld for feature in (*usual.features, *usual.predictions))
    unusual = report(2.5 * matrix(3), told=False, payload="scores")
    assert unusual.drifted == ["outlier_scores"]


@pytest.mark.parametrize("capture", [{"payload": "scores"}, {"redact": {"f1": {"hash": "KEY"}}}])
def test_versions_are_compared_by_what_is_told(capture: dict[str, Any]) -> None:
    told = "payload" not in capture
    versus = compare_versions(
        monitor=monitor(**capture),
        profile=PROFILE,
        version="1",
        stable=summary(matrix(4), told=told),
        canary=summary(matrix(5), told=told),
    )
    assert isinstance(versus.tests["f1"]["jensen_shannon"], NotMeasured)
    assert isinstance(versus.tests["outlier_scores"]["jensen_shannon"], Measured)
    assert isinstance(versus.tests["f0"]["jensen_shannon"], Measured) == told


def test_where_nothing_is_told_versions_are_not_compared() -> None:
    nothing = make_record(rows=0, features=None, outlier=[], p_values={}, scores={}, top=[])
    # As summaries are that have no scores at all.
    bare = [dataclasses.replace(summarise([nothing], [], PROFILE), p_values=None)] * 2
    versus = compare_versions(
        monitor=monitor(payload="scores"), profile=PROFILE, version="1", stable=bare[0], canary=bare[1]
    )
    assert all(isinstance(result, NotMeasured) for tests in versus.tests.values() for result in tests.values())
