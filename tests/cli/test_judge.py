"""`tidegauge judge`: exit codes, and what is printed and written."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv
from typer.testing import CliRunner

from cli.main import app
from tests.support.examples import SCHEMA, mixed_profile, mixed_rows, monitor_document
from tests.support.schemas import validate
from tidegauge.errors import InvalidBaseline, InvalidExtension

RUN = CliRunner()


@pytest.fixture
def baseline(tmp_path: Path) -> str:
    path = tmp_path / "doors.json"
    path.write_bytes(mixed_profile().dump())
    return str(path)


def data(tmp_path: Path, *, taller: float = 0.0, rows: int = 800) -> str:
    matrix = mixed_rows(rows, seed=2)
    matrix[:, 0] += taller
    decoded = SCHEMA.decode_rows(matrix)
    path = tmp_path / "rows.csv"
    csv.write_csv(pa.table({name: [row[at] for row in decoded] for at, name in enumerate(SCHEMA.names)}), path)
    return str(path)


@pytest.mark.parametrize(("taller", "rows", "code"), [(0.0, 800, 0), (20.0, 800, 1), (20.0, 20, 2)])
def test_the_exit_code_says_whether_there_is_drift(
    tmp_path: Path, baseline: str, taller: float, rows: int, code: int
) -> None:
    run = RUN.invoke(app, ["judge", data(tmp_path, taller=taller, rows=rows), "--baseline", baseline])
    assert run.exit_code == code
    assert "height" in run.output


def test_json_is_the_report_and_html_a_page(tmp_path: Path, baseline: str) -> None:
    page = tmp_path / "drift.html"
    arguments = ["judge", data(tmp_path, taller=20.0), "-b", baseline, "--json", "--html", str(page)]
    document = json.loads(RUN.invoke(app, arguments).output)
    validate("window-report.v1", document)
    assert document["drifted_features"] == ["height"]
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_a_monitor_says_what_to_judge_by_and_with_which_profile(tmp_path: Path, baseline: str) -> None:
    own = {"report": ["tests.support.own:largest_gap"]}
    path = tmp_path / "monitor.yaml"
    path.write_text(json.dumps(monitor_document(drift={"own": own, "minimumEffect": {"location": 9}})))
    document = json.loads(RUN.invoke(app, ["judge", data(tmp_path), "--monitor", str(path), "--json"]).output)
    assert (document["monitor"], document["baseline"]) == ("doors", mixed_profile().content_id)
    assert document["features"][0]["tests"]["tests.support.own:largest_gap"]["measured"]
    path.write_text(json.dumps(monitor_document(drift={"own": {"report": ["nowhere:test"]}})))
    run = RUN.invoke(app, ["judge", data(tmp_path), "--monitor", str(path)])
    assert isinstance(run.exception, InvalidExtension)


def test_without_a_profile_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    run = RUN.invoke(app, ["judge", data(tmp_path)])
    assert run.exit_code == 2
    assert "give the profile" in run.output


def test_a_file_that_is_no_baseline_is_named(tmp_path: Path) -> None:
    path = data(tmp_path)
    run = RUN.invoke(app, ["judge", path, "--baseline", path])
    assert isinstance(run.exception, InvalidBaseline)
    assert path in str(run.exception)
