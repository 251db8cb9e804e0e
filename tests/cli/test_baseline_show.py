"""`tidegauge baseline show` and `diff`: a profile for people."""

from __future__ import annotations

import html.parser
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cli import main as command_line
from tests.support.examples import mixed_rows
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec

Run = Callable[..., tuple[int, str, str]]

ODD = "height <b>[red]&"
SCHEMA = FeatureSchema(
    (
        FeatureSpec(ODD),
        FeatureSpec("colour", "categorical", ("blue", "<i>green", "red")),
        FeatureSpec("open", "boolean"),
    )
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tidegauge", "baseline", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err  # type: ignore[return-value]

    return run


@pytest.fixture(scope="module")
def profile() -> BaselineProfile:
    rows = mixed_rows(1000)
    rows[::100, 0] += 200.0
    outlier = np.arange(1000) % 100 == 0
    return BaselineProfile.fit(rows, SCHEMA, outlier=outlier, predictions=np.arange(1000.0))


@pytest.fixture
def file(tmp_path: Path, profile: BaselineProfile) -> Path:
    path = tmp_path / "doors.json"
    path.write_bytes(profile.dump())
    return path


def test_the_summary_names_features_detectors_and_what_the_rates_are_worth(
    run: Run, file: Path, profile: BaselineProfile
) -> None:
    code, out, err = run("show", file)
    assert (code, err) == (0, "")
    assert "1,000 rows, 10 known outliers, 3 features" in out
    assert profile.content_id in out
    for expected in (ODD, "colour", "boolean", "Predictions", "tail+mahalanobis", "coarse, finds 100%", "990", "█"):
        assert expected in out
    assert "note: a false-alarm rate of 0.001 is extrapolated" in out


class Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_whole_in_itself_and_takes_names_for_text(run: Run, file: Path) -> None:
    code, out, _ = run("show", file, "--html", "doors.html")
    assert (code, out) == (0, "doors.html: written\n")
    content = Path("doors.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(content)
    assert page.tags.count("svg") == page.tags.count("section") == 4
    assert page.tags.count("rect") > 40
    assert page.links == []
    assert not {"script", "link", "img", "b", "i"} & set(page.tags)
    assert "url(" not in content
    assert "@import" not in content
    assert ODD in page.text
    assert any("<i>green: " in text for text in page.text)


def test_a_profile_does_not_differ_from_itself(run: Run, file: Path) -> None:
    assert run("diff", file, file) == (0, "the same profile\n", "")


def test_different_profiles_are_told_apart_with_exit_code_1(run: Run, file: Path) -> None:
    rows = mixed_rows(1000, seed=2)
    rows[:, 0] += 10.0
    rows[:, 2] = np.where(np.arange(1000) < 300, np.nan, rows[:, 2])
    Path("later.json").write_bytes(BaselineProfile.fit(rows, SCHEMA, detectors=["tail"]).dump())
    code, out, err = run("diff", file, "later.json")
    assert (code, err) == (1, "")
    assert "detector mahalanobis: only in the first" in out
    assert out.index("open") < out.index("colour")
    assert "30.0%" in out


@pytest.mark.parametrize("command", [("show", "doors.txt"), ("diff", "doors.txt", "doors.txt")])
def test_what_is_no_profile_is_one_line_and_exit_code_2(run: Run, command: tuple[str, ...]) -> None:
    code, _, err = run(*command)
    assert (code, len(err.splitlines())) == (2, 1)
    Path("doors.txt").write_text("{}")
    code, _, err = run(*command)
    assert (code, err) == (2, "tidegauge: doors.txt: not a baseline profile of version 1 or 2\n")
