"""A user's own detector, named in the monitor, in the running transformer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.spread import Spread
from tests.support.topics import record_of
from tidegauge.baseline import BaselineProfile
from tidegauge.scoring import DETECTORS
from tidegauge.scoring.fitted import FittedScoring
from transformer.arguments import InvalidSettings
from transformer.settings import read_settings

SPREAD = "tests.support.spread:Spread"


@pytest.fixture(scope="module")
def spread_profile(profile: BaselineProfile) -> BaselineProfile:
    """The profile's data again, fitted with a detector more."""
    rows = np.random.default_rng(5).normal(size=(2000, 3))
    kinds = {"tail": DETECTORS["tail"], SPREAD: Spread}
    return dataclasses.replace(profile, scoring=FittedScoring.fit(rows, profile.schema, detectors=kinds))


def test_its_scores_are_in_headers_records_and_the_verdict(
    serve_monitor: Callable[..., Any], spread_profile: BaselineProfile, constant_predictor: Any, shared_broker: str
) -> None:
    body = b'{"predictions": [1]}'
    constant_predictor.says = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    program = serve_monitor(spread_profile, "spread", detectors=["tail", SPREAD])
    rows = [[0.1, 0.2, 0.3], [-3.2, 3.2, 0.0]]
    response = httpx.post(
        program.url + "/v1/models/sums:predict",
        json={"instances": rows},
        headers={"x-request-id": "apart"},
        timeout=20,
    )
    assert response.headers["x-outlier"] == "0,1"
    assert len(response.headers["x-outlier-score-tests-support-spread-spread"].split(",")) == 2
    record = record_of(shared_broker, "spread", "apart")
    expected = spread_profile.scoring.detectors[SPREAD].scores(np.array(rows), None)[0]
    assert record.scores[SPREAD] == expected.tolist()
    assert record.p_values[SPREAD][1] < record.p_values[SPREAD][0]
    assert record.issues == {}


@pytest.fixture
def refusal_of(write_monitor: Any, monitor_document: Any) -> Callable[[str], str]:
    """(detector) -> what is said of a monitor that names it."""

    def said(detector: str) -> str:
        monitor_document["spec"]["outliers"] = {"detectors": ["tail", detector]}
        path: Path = write_monitor()
        with pytest.raises(InvalidSettings) as error:
            read_settings(["--monitor", str(path), "--predictor_host", "p"])
        text = str(error.value)
        assert "\n" not in text
        return text

    return said


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        ("nowhere.detectors:Spread", "spec.outliers.detectors: nowhere.detectors:Spread: cannot import"),
        ("tests.support.spread:Nothing", "tests.support.spread has no Nothing"),
        ("tests.support.spread:Half", "tests.support.spread:Half has no from_document, score_row, scores, to_document"),
        ("forest", "spec.outliers.detectors: expected a list of tail"),
        (SPREAD, f"the baseline has no detector {SPREAD}; it has tail, mahalanobis"),
    ],
    ids=["no such module", "no such class", "no detector", "unknown name", "not in the profile"],
)
def test_a_detector_that_cannot_be_used_is_refused_in_a_line(
    refusal_of: Callable[[str], str], detector: str, said: str
) -> None:
    assert said in refusal_of(detector)
