"""What a monitor names of a user's own: refused before the first window in one line, and used in verdicts after it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import tidegauge
from tests.support.examples import mixed_profile, mixed_rows, monitor_document
from tests.support.own import LogMean, upper_tail
from tests.support.schemas import ROOT, validate
from tidegauge.drift_spec import Drift, OwnTests
from tidegauge.errors import InvalidExtension
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.notebook import Policy
from tidegauge.own_checks import check_own
from tidegauge.report import WindowReport
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.window_summary import summarise_matrix
from tidegauge.verdict import judge
from tidegauge.windows import Window

PROFILE = mixed_profile()
OWN = "tests.support.own:"


def monitor(**own: Any) -> ModelMonitor:
    statistics = {"own": own.pop("statistics", [])}
    return parse_monitor(monitor_document(drift={"own": own}, statistics=statistics))


def judged(chosen: ModelMonitor, *, taller: float = 0.0) -> WindowReport:
    rows = mixed_rows(2000, seed=3)
    rows[:, 0] += taller
    summary = summarise_matrix(rows, PROFILE, statistics=chosen.statistics)
    return judge(monitor=chosen, profile=PROFILE, version="1", window=Window(0, 15_000), summary=summary)


def refusal(chosen: ModelMonitor) -> str:
    with pytest.raises(InvalidExtension) as refused:
        check_own(chosen.drift, chosen.statistics)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_good_ones_are_taken() -> None:
    chosen = monitor(decide=[f"{OWN}upper_tail"], report=[f"{OWN}largest_gap"], statistics=[f"{OWN}WholeNumbers"])
    check_own(chosen.drift, chosen.statistics)
    check_own(chosen.drift, chosen.statistics)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"report": ["nowhere.tests:some"]}, "nowhere.tests:some: cannot import"),
        ({"decide": [f"{OWN}nothing"]}, "tests.support.own has no nothing"),
        ({"decide": [f"{OWN}largest_gap"]}, f"{OWN}largest_gap: an answer to any bins: not so.*no p_value.*extending"),
        ({"report": ["string:digits"]}, "string:digits is neither a function nor a class"),
        ({"report": ["os:environ"]}, "os:environ is neither a function nor a class"),
        ({"statistics": ["pathlib:Path"]}, "pathlib:Path has no terms, value"),
        ({"statistics": [f"{OWN}Unmade"]}, f"{OWN}Unmade: fails while it is checked: TypeError"),
        ({"statistics": [f"{OWN}Late"]}, f"{OWN}Late: fails while it is checked: KeyError"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(own: Any, said: str) -> None:
    assert re.search(said, refusal(monitor(**own)))


def test_a_test_that_decides_takes_its_share_and_may_alarm() -> None:
    chosen = monitor(decide=[f"{OWN}upper_tail"])
    usual, taller = judged(chosen), judged(chosen, taller=4.0)
    assert (usual.verdict, taller.verdict) == ("no_drift", "drift")
    assert list(usual.features[0].tests)[:3] == ["jensen_shannon", "location", f"{OWN}upper_tail"]
    thresholds = [judged(one).spending.per_decision for one in (monitor(), chosen)]
    assert thresholds[1] == pytest.approx(thresholds[0] * 2 / 3)
    tests = taller.to_document()["features"][0]["tests"]
    assert tests[f"{OWN}upper_tail"]["rule"] == "budget"
    assert tests[f"{OWN}upper_tail"]["threshold"] == tests["location"]["threshold"]
    validate("window-report.v1", taller.to_document())


def test_a_test_that_reports_costs_nothing_and_keeps_a_fixed_threshold() -> None:
    document = monitor_document(
        drift={"own": {"report": [f"{OWN}largest_gap"]}, "thresholds": {f"{OWN}largest_gap": 0.001}},
        statistics={"own": [f"{OWN}WholeNumbers"]},
    )
    validate("model-monitor.v1alpha1", document)
    report = judged(parse_monitor(document))
    assert report.spending.per_decision == judged(monitor()).spending.per_decision
    found = report.to_document()
    result = found["features"][0]["tests"][f"{OWN}largest_gap"]
    assert (result["p_value"], result["threshold"], result["rule"]) == (None, None, "fixed_threshold")
    assert found["features"][0]["statistics"]["own"][f"{OWN}WholeNumbers"]["value"] == 0.0
    validate("window-report.v1", found)


def test_a_minimum_effect_is_kept_to() -> None:
    document = monitor_document(
        drift={
            "own": {"decide": [f"{OWN}upper_tail"]},
            "minimumEffect": {f"{OWN}upper_tail": 0.9, "jensen_shannon": 0.9, "location": 9.0},
        }
    )
    validate("model-monitor.v1alpha1", document)
    assert judged(parse_monitor(document), taller=4.0).verdict == "no_drift"


def test_a_fault_in_one_feature_leaves_the_others_judged() -> None:
    report = judged(monitor(report=[f"{OWN}broken"], statistics=[f"{OWN}Late"]), taller=4.0).to_document()
    height, colour, _ = (feature["tests"][f"{OWN}broken"] for feature in report["features"])
    assert height == {"measured": False, "why": "ZeroDivisionError: of two lines"}
    assert (colour["measured"], colour["effect"]) == (True, 0.5)
    assert report["features"][0]["statistics"]["own"][f"{OWN}Late"]["why"].startswith("KeyError")
    assert report["drifted_features"] == ["height"]
    validate("window-report.v1", report)


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's examples, as files of a package that can be imported."""
    page = (ROOT / "docs" / "extending.md").read_text()
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, code in re.findall(r"```python\n# mypackage/(\w+\.py)\n(.*?)```", page, re.DOTALL):
        (package / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "mypackage"]:
        del sys.modules[name]


def test_the_documented_examples_are_used_in_a_verdict(documented: None) -> None:
    page = (ROOT / "docs" / "extending.md").read_text()
    (drift,) = re.findall(r"^drift:\n(?:  .*\n)+", page, re.MULTILINE)
    (statistics,) = re.findall(r"^statistics: .*\n", page, re.MULTILINE)
    document = monitor_document(**yaml.safe_load(drift + statistics))
    validate("model-monitor.v1alpha1", document)
    chosen = parse_monitor(document)
    report = tidegauge.judge(mixed_rows(2000, seed=3), PROFILE, chosen)
    (decides,) = chosen.drift.own.decide
    (statistic,) = chosen.statistics.own
    feature = report.to_document()["features"][0]
    assert feature["tests"][decides]["measured"]
    assert feature["tests"][decides]["threshold"] > 0
    assert feature["statistics"]["own"][statistic]["measured"]


def test_a_notebook_names_its_own_as_main(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "upper_tail", upper_tail, raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "LogMean", LogMean, raising=False)
    policy = Policy(
        drift=Drift(own=OwnTests(decide=("__main__:upper_tail",))), statistics=Statistics(own=("__main__:LogMean",))
    )
    report = tidegauge.judge(mixed_rows(500, seed=3), PROFILE, policy)
    assert "__main__:upper_tail" in report.features[0].tests
    assert report.features[0].statistics["own"]["__main__:LogMean"]["value"] == pytest.approx(np.log(170), abs=0.1)
    with pytest.raises(InvalidExtension, match="has no nothing"):
        tidegauge.judge(mixed_rows(9), PROFILE, Policy(statistics=Statistics(own=("__main__:nothing",))))
