"""What a client and a record get under each of the monitor's policies, from running transformers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.topics import record_of
from tidegauge.baseline import BaselineProfile

PREDICT, INFER = "/v1/models/sums:predict", "/v2/models/sums/infer"
USUAL, ODD = [0.1, 0.2, 0.3], [50.0, 0.2, 0.3]


def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


PREDICTED = answer(b'{"predictions": [1], "model_version": "9"}')


@pytest.fixture
def predictor(constant_predictor: Any) -> Any:
    constant_predictor.says = PREDICTED
    return constant_predictor


@pytest.fixture(scope="module")
def rejecting(serve_monitor: Callable[..., Any], profile: BaselineProfile) -> Any:
    return serve_monitor(profile, "reject", policy="reject", budgetMs=1000)


def post(program: Any, document: Any, path: str = PREDICT, request_id: str = "r") -> httpx.Response:
    return httpx.post(program.url + path, json=document, headers={"x-request-id": request_id}, timeout=20)


def test_rejected_requests_are_answered_422_with_the_reason(rejecting: Any, predictor: Any, shared_broker: str) -> None:
    response = post(rejecting, {"instances": [USUAL, ODD]}, request_id="odd")
    assert response.status_code == 422
    said = response.json()
    assert list(said) == ["error"]
    assert said["error"].startswith("rejected: 1 of 2 rows unlike the model's baseline: row 1: p-value ")
    assert "driven by a=" in said["error"]
    assert response.headers["x-outlier"] == "0,1"
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"] == "odd"
    record = record_of(shared_broker, "reject", "odd")
    assert (record.status, record.rejected, record.outlier) == (422, True, [False, True])
    assert (record.predictions, record.version, record.issues) == (None, "9", {})


def test_v2_requests_are_rejected_in_the_same_form(rejecting: Any, predictor: Any) -> None:
    predictor.says = PREDICTED
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP64", "data": ODD}
    response = post(rejecting, {"inputs": [tensor]}, INFER)
    assert response.status_code == 422
    assert response.json()["error"].startswith("rejected: 1 of 1 rows")


def test_usual_requests_are_answered_with_the_prediction(rejecting: Any, predictor: Any, shared_broker: str) -> None:
    response = post(rejecting, {"instances": [USUAL]}, request_id="usual")
    assert (response.status_code, response.headers["x-outlier"]) == (200, "0")
    record = record_of(shared_broker, "reject", "usual")
    assert (record.status, record.rejected, record.predictions) == (200, False, [1])


@pytest.mark.parametrize("body", [b"{", b"", b'{"instances": 3}'], ids=["cut", "empty", "no rows"])
def test_what_cannot_be_scored_is_never_rejected(rejecting: Any, predictor: Any, body: bytes) -> None:
    response = httpx.post(rejecting.url + PREDICT, content=body, timeout=20)
    assert (response.status_code, response.headers["x-outlier"]) == (200, "unknown")


@pytest.mark.parametrize("status", [b"200 OK", b"500 No"])
def test_the_verdict_stands_whatever_the_predictor_says(rejecting: Any, predictor: Any, status: bytes) -> None:
    chunks = b"HTTP/1.1 " + status + b"\r\ntransfer-encoding: chunked\r\n\r\n"
    predictor.says = chunks + b"5\r\nfirst\r\n0\r\n\r\n"
    before = len(predictor.asked)
    for _ in range(3):
        assert post(rejecting, {"instances": [ODD]}).status_code == 422
    predictor.says = PREDICTED
    assert post(rejecting, {"instances": [USUAL]}).json()["predictions"] == [1]
    connections = {asked.connection for asked in predictor.asked[before:]}
    assert len(connections) == 1, "withheld answers are read to their end, so connections are used again"


def test_rejections_are_counted(rejecting: Any, predictor: Any) -> None:
    before = metrics(rejecting)
    post(rejecting, {"instances": [ODD, ODD]})
    deadline = time.monotonic() + 10
    while (after := metrics(rejecting))["tidegauge_rejected_total"] < before["tidegauge_rejected_total"] + 1:
        assert time.monotonic() < deadline
    answers = 'tidegauge_requests_total{protocol="v1",status="4xx"}'
    assert after[answers] == before.get(answers, 0) + 1


def metrics(program: Any) -> dict[str, float]:
    text = httpx.get(program.url + "/metrics", timeout=20).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("tidegauge_")]
    return {name: float(value) for name, value in lines}


def test_in_the_shadow_no_answer_says_anything_and_the_record_all(
    serve_monitor: Callable[..., Any], profile: BaselineProfile, predictor: Any, shared_broker: str
) -> None:
    program = serve_monitor(profile, "shadow", policy="shadow")
    response = post(program, {"instances": [ODD]}, request_id="odd")
    assert (response.status_code, response.json()["predictions"]) == (200, [1])
    assert not [name for name in response.headers if name.startswith("x-outlier")]
    assert response.headers["x-request-id"] == "odd"
    record = record_of(shared_broker, "shadow", "odd")
    assert (record.status, record.rejected, record.outlier) == (200, False, [True])


def test_rows_left_over_are_answered_unknown_and_recorded_with_all_scores(
    serve_monitor: Callable[..., Any], profile: BaselineProfile, predictor: Any, shared_broker: str
) -> None:
    program = serve_monitor(profile, "annotate", budgetMs=0)
    rows = np.random.default_rng(2).normal(size=(3000, 3)).clip(-2.5, 2.5).tolist()
    response = post(program, {"instances": [*rows, ODD]}, request_id="many")
    assert response.status_code == 200
    assert response.headers["x-outlier"] == "unknown"
    assert response.headers["x-outlier-scored"] == "0"
    record = record_of(shared_broker, "annotate", "many")
    assert record.rows == len(record.outlier) == len(record.scores["tail"]) == len(record.top) == 3001
    assert record.outlier[-1]
    assert record.features is not None and record.features[-1] == ODD
    assert metrics(program)["tidegauge_late_rows_total"] == 1, "it was not known how many"


def test_binary_predictions_pass_as_they_are_and_are_in_the_record(
    rejecting: Any, predictor: Any, shared_broker: str
) -> None:
    data = np.array([0.5, 0.25], dtype="<f4").tobytes()
    output = {"name": "y", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
    document = json.dumps({"outputs": [output]}).encode()
    length = b"Inference-Header-Content-Length: %d\r\n" % len(document)
    predictor.says = b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n" % (length, len(document + data))
    predictor.says += document + data
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP64", "data": [USUAL, USUAL]}
    response = post(rejecting, {"inputs": [tensor]}, INFER, "binary")
    assert response.content == document + data
    record = record_of(shared_broker, "reject", "binary")
    assert (record.predictions, record.issues) == ([0.5, 0.25], {})
