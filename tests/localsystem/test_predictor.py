"""The predictor is a real one: KServe's server, both protocols, errors as KServe gives them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from localsystem.dataset import load_shuttle
from localsystem.system import LocalSystem, Part


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Part]:
    with LocalSystem(tmp_path_factory.mktemp("predictor")) as system:
        part = system.start_predictor("shuttle")
        part.wait_until_ready()
        yield part


def test_v1_rows_get_one_class_each(predictor: Part) -> None:
    data = load_shuttle()
    rows, anomaly = data.rows[:200], data.anomaly[:200]

    answer = httpx.post(f"{predictor.url}/v1/models/shuttle:predict", json={"instances": rows.tolist()})

    assert answer.status_code == 200
    predictions = answer.json()["predictions"]
    assert sum(one == other for one, other in zip(predictions, anomaly, strict=True)) >= 198


def test_v2_tensors_get_a_tensor_and_the_models_version(predictor: Part) -> None:
    row = load_shuttle().rows[0].tolist()
    tensor = {"name": "rows", "shape": [1, 9], "datatype": "FP64", "data": row}

    answer = httpx.post(f"{predictor.url}/v2/models/shuttle/infer", json={"id": "a", "inputs": [tensor]})

    assert answer.status_code == 200
    document = answer.json()
    assert (document["id"], document["model_version"]) == ("a", "1")
    assert document["outputs"][0]["shape"] == [1]


def test_a_body_sent_by_a_bare_curl_is_read_as_json(predictor: Part) -> None:
    def answer(body: bytes) -> httpx.Response:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return httpx.post(f"{predictor.url}/v1/models/shuttle:predict", content=body, headers=headers)

    assert answer(b'{"instances": [[50, 21, 77, 0, 28, 0, 27, 48, 22]]}').status_code == 200
    assert "the body is not JSON" in answer(b"{").json()["error"]
    assert "expected a JSON object" in answer(b"[]").json()["error"]


@pytest.mark.parametrize("instances", [[["x"] * 9], [[1.0]], []], ids=["text", "too narrow", "none"])
def test_rows_that_are_none_are_a_bad_request(predictor: Part, instances: object) -> None:
    answer = httpx.post(f"{predictor.url}/v1/models/shuttle:predict", json={"instances": instances})

    assert answer.status_code == 400
    assert "expected rows of 9 numbers" in answer.json()["error"]
