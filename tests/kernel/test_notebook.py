"""A frame judged as one window, and what its report looks like."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import tidegauge
from tests.support.examples import SCHEMA, mixed_profile, mixed_rows, monitor_document
from tests.support.schemas import validate
from tidegauge.baseline import BaselineProfile
from tidegauge.drift_spec import Drift
from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.monitor import parse_monitor
from tidegauge.notebook import Policy
from tidegauge.report import WindowReport
from tidegauge.statistics_spec import Statistics

PROFILE = mixed_profile()


def columns(matrix: Matrix) -> dict[str, list[object]]:
    rows = SCHEMA.decode_rows(matrix)
    return {name: [row[at] for row in rows] for at, name in enumerate(SCHEMA.names)}


def taller() -> Matrix:
    matrix = mixed_rows(800, seed=2)
    matrix[:, 0] += 20.0
    return matrix


def drifted() -> WindowReport:
    return tidegauge.judge(columns(taller()), PROFILE)


def test_usual_rows_have_not_drifted_and_changed_ones_have() -> None:
    assert tidegauge.judge(columns(mixed_rows(800, seed=2)), PROFILE).verdict == "no_drift"
    report = drifted()
    assert (report.verdict, report.drifted_features) == ("drift", ["height"])
    assert report.causes[0].sentence.startswith("height moved up by ")
    validate("window-report.v1", report.to_document())


def test_every_kind_of_frame_gives_the_same_verdict() -> None:
    of_dictionary = drifted()
    frame = pd.DataFrame(columns(taller()))
    for data in (frame, pa.table(columns(taller())), taller()):
        assert tidegauge.judge(data, PROFILE).drifted_features == of_dictionary.drifted_features


def test_a_policy_and_a_monitor_say_what_drift_is() -> None:
    strict = Policy(drift=Drift(minimum_effect={"jensen_shannon": 0.9, "location": 9.0}))
    assert tidegauge.judge(taller(), PROFILE, strict).verdict == "no_drift"
    monitor = parse_monitor(monitor_document(windows={"duration": "1h", "minCount": 10_000}))
    report = tidegauge.judge(taller(), PROFILE, monitor, start_ms=5000)
    assert (report.monitor, report.verdict, report.window.end_ms) == ("doors", "unknown", 3_605_000)


def test_a_frame_without_rows_cannot_be_judged_and_one_of_other_columns_is_refused() -> None:
    assert tidegauge.judge(np.empty((0, 3)), PROFILE).verdict == "unknown"
    with pytest.raises(InvalidBaseline):
        tidegauge.judge({"width": [1.0]}, PROFILE)


def test_a_report_prints_as_a_table_with_the_drifted_features_first() -> None:
    head, _, names, first, *_ = str(drifted()).splitlines()
    assert head == "batch version 1: drift (1 of 3 features)"
    assert names.split() == ["feature", "drift", "p-value", "nats", "location", "missing", "what", "changed"]
    assert first.split()[:2] == ["height", "yes"]
    assert "height moved up by" in first
    unknown = str(tidegauge.judge(np.empty((0, 3)), PROFILE))
    assert "unknown: nothing could be tested" in unknown
    assert re.search(r"^height +\?", unknown, re.M)


def test_a_broken_correlation_is_printed_below_the_table() -> None:
    rng = np.random.default_rng(1)
    left = rng.normal(size=3000)
    matrix = np.column_stack([left, left + 0.3 * rng.normal(size=3000)])
    profile = BaselineProfile.fit(matrix, FeatureSchema((FeatureSpec("left"), FeatureSpec("right"))))
    broken = np.column_stack([matrix[:, 0], rng.permutation(matrix[:, 1])])
    assert str(tidegauge.judge(broken, profile)).splitlines()[-1].startswith("left and right: correlation went from")


def test_the_page_is_whole_escaped_and_fetches_nothing() -> None:
    names = FeatureSchema((FeatureSpec("<b>&"), FeatureSpec("c", "categorical", ("<i>", "y"))))
    rng = np.random.default_rng(1)
    matrix = np.column_stack([rng.normal(size=1000), rng.integers(0, 2, 1000)]).astype(float)
    page = tidegauge.judge(matrix + np.array([2.0, 0.0]), BaselineProfile.fit(matrix, names)).to_html()
    body = ElementTree.fromstring(page[page.index("<body>") : page.index("</html>")])
    assert not re.search(r"https?:|<script|src=|url\(", page)
    assert "prefers-color-scheme: dark" in page
    names_of = [heading.text for heading in body.iter("h3")]
    assert sorted(map(str, names_of)) == ["<b>&", "c", "outlier_scores"]
    pictures = list(body.iter("svg"))
    assert [picture.get("role") for picture in pictures] == ["img"] * 3
    titles = [title.text or "" for title in pictures[names_of.index("c")].iter("title")]
    assert [title.split(":")[0] for title in titles] == ["unseen", "<i>", "y", "missing"]
    assert re.search(r"5\d\.\d% in the baseline", titles[1]) or re.search(r"4\d\.\d% in the baseline", titles[1])


def test_a_notebook_shows_the_page() -> None:
    report = drifted()
    assert report._repr_html_() == report.to_html()


def test_pictures_are_left_out_where_the_distribution_is_not_known() -> None:
    assert "<svg" not in dataclasses.replace(drifted(), profile=None).to_html()
    few = tidegauge.judge(taller(), PROFILE, Policy(statistics=Statistics(top_categories=1)))
    assert few.to_html().count("<svg") == 4
    assert tidegauge.judge(np.empty((0, 3)), PROFILE).to_html().count("<svg") >= 3
