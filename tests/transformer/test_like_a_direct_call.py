"""A call through the transformer against the same call to a real KServe predictor: the same, but for our headers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition
from jsonschema import Draft202012Validator

from localsystem.dataset import load_shuttle
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.records import Heartbeat, InferenceRecord, decode

MODEL = "shuttle"

SCHEMA_FILES = Path(__file__).resolve().parents[2] / "docs" / "schemas"
SCHEMAS = {
    kind: Draft202012Validator(json.loads((SCHEMA_FILES / file).read_text()))
    for kind, file in (("inference", "inference-record.v1.json"), ("heartbeat", "heartbeat.v1.json"))
}


@dataclass
class System:
    direct: str
    through: str
    broker: str
    topic: str
    transformer: Any


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def system(
    request: pytest.FixtureRequest,
    shared_broker: str,
    start_program: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    topic = f"inference-{request.param}"
    monitor = _monitor(tmp_path_factory.mktemp("monitor"), shared_broker, topic=topic)
    predictor = start_program("localsystem.predictor", "--model_name", MODEL, ready="Uvicorn running")
    transformer = start_program(
        "transformer",
        *("--monitor", str(monitor), "--model_name", MODEL, "--workers", str(request.param)),
        *("--predictor_host", f"127.0.0.1:{predictor.port}", "--predictor_protocol", "v2"),
        ready="transformer serving",
        times=request.param,
    )
    yield System(predictor.url, transformer.url, shared_broker, topic, transformer)
    if transformer.process.poll() is None:
        transformer.stop()
    predictor.stop()


def _monitor(directory: Path, broker: str, *, topic: str) -> Path:
    data = load_shuttle()
    schema = FeatureSchema(tuple(FeatureSpec(name) for name in data.names))
    profile = BaselineProfile.fit(data.rows[:4000], schema, outlier=data.anomaly[:4000])
    (directory / "baseline.json").write_bytes(profile.dump())
    path = directory / "monitor.yaml"
    document = {
        "apiVersion": "tidegauge.io/v1alpha1",
        "kind": "ModelMonitor",
        "metadata": {"name": MODEL},
        "spec": {
            "model": {"name": MODEL},
            "baseline": {"file": "baseline.json"},
            "kafka": {"bootstrapServers": broker, "topics": {"inference": {"name": topic}}},
        },
    }
    path.write_text(yaml.safe_dump(document))
    return path


ROWS = np.arange(18, dtype=float).reshape(2, 9).tolist()
TENSOR = {"name": "x", "shape": [2, 9], "datatype": "FP64", "data": ROWS}
FLAT = TENSOR | {"datatype": "FP32", "data": [value for row in ROWS for value in row]}


def as_json(document: object, **headers: str) -> tuple[dict[str, str], bytes]:
    return {"content-type": "application/json"} | headers, json.dumps(document).encode()


def binary_tensor() -> tuple[dict[str, str], bytes]:
    data = np.array(ROWS, dtype=np.float32).tobytes()
    tensor = TENSOR | {"datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
    del tensor["data"]
    head = json.dumps({"id": "7", "inputs": [tensor]}).encode()
    return {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}, head + data


V1 = f"/v1/models/{MODEL}:predict"
V2 = f"/v2/models/{MODEL}/infer"

CALLS: dict[str, tuple[str, str, tuple[dict[str, str], bytes]]] = {
    "v1": ("POST", V1, as_json({"instances": ROWS})),
    "v1 pretty printed": (
        "POST",
        V1,
        ({"content-type": "application/json"}, json.dumps({"instances": ROWS}, indent=3).encode()),
    ),
    "v1 with a charset": (
        "POST",
        V1,
        as_json({"instances": ROWS}, **{"content-type": "application/json; charset=utf-8"}),
    ),
    "v1 with a query": ("POST", V1 + "?a=1&b=%20", as_json({"instances": ROWS})),
    "v1 refused": ("POST", V1, as_json({"instances": [["a"] * 9]})),
    "v1 without instances": ("POST", V1, as_json({"rows": ROWS})),
    "v1 not JSON": ("POST", V1, ({"content-type": "application/json"}, b"{")),
    "v1 empty": ("POST", V1, ({"content-type": "application/json"}, b"")),
    "v2 nested": ("POST", V2, as_json({"id": "7", "inputs": [TENSOR]})),
    "v2 flat": ("POST", V2, as_json({"id": "7", "inputs": [FLAT]})),
    "v2 with a version": ("POST", f"/v2/models/{MODEL}/versions/1/infer", as_json({"id": "7", "inputs": [TENSOR]})),
    "v2 binary": ("POST", V2, binary_tensor()),
    "v2 unknown type": ("POST", V2, as_json({"id": "7", "inputs": [TENSOR | {"datatype": "NOPE"}]})),
    "v2 not JSON": ("POST", V2, ({"content-type": "application/json"}, b"{")),
    "other model": ("POST", "/v1/models/other:predict", as_json({"instances": ROWS})),
    "other path": ("GET", "/nowhere", ({}, b"")),
    "explain": ("POST", f"/v1/models/{MODEL}:explain", as_json({"instances": ROWS}, **{"x-request-id": "e"})),
    "predict by GET": ("GET", V1, ({}, b"")),
    "HEAD": ("HEAD", "/nowhere", ({}, b"")),
}
MONITORED = [name for name, (method, path, _) in CALLS.items() if method == "POST" and path.split("?")[0] in (V1, V2)]


def ask(url: str, name: str, request_id: str) -> httpx.Response:
    method, path, (headers, body) = CALLS[name]
    headers = {"x-request-id": request_id, "x-custom": "1", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"} | headers
    return httpx.request(method, url + path, headers=headers, content=body, timeout=20)


def end_to_end(response: httpx.Response) -> list[tuple[str, str]]:
    ours = ("x-outlier", "x-request-id", "date")
    return sorted((name, value) for name, value in response.headers.multi_items() if not name.startswith(ours))


@pytest.mark.parametrize("name", CALLS)
def test_status_headers_and_body_are_the_predictors_own(system: System, name: str) -> None:
    direct, through = ask(system.direct, name, "d"), ask(system.through, name, "t")
    assert (through.status_code, through.content) == (direct.status_code, direct.content)
    if name != "explain":  # KServe's explain sends the request's headers back
        assert end_to_end(through) == end_to_end(direct)
    if name in MONITORED:
        assert through.headers["x-request-id"] == "t"
        assert "x-outlier" in through.headers


@pytest.mark.parametrize("name", ["v1", "v2 nested", "v2 flat"])
def test_answers_carry_a_score_a_row(system: System, name: str) -> None:
    headers = ask(system.through, name, "s").headers
    assert len(headers["x-outlier"].split(",")) == 2
    assert all(0 < float(p) <= 1 for p in headers["x-outlier-p-value"].split(","))
    assert len(headers["x-outlier-score-tail"].split(",")) == 2
    assert len(headers["x-outlier-score-mahalanobis"].split(",")) == 2
    assert "=" in headers["x-outlier-top"] and len(headers["x-outlier-baseline"]) == 12


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", {"status": "alive"}),
        ("/v1/models", {"models": [MODEL]}),
        (f"/v1/models/{MODEL}", {"name": MODEL, "ready": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        (f"/v2/models/{MODEL}/ready", {"name": MODEL, "ready": True}),
    ],
)
def test_health_and_readiness_are_answered_by_the_sdk(system: System, path: str, expected: object) -> None:
    response = httpx.get(system.through + path, timeout=20)
    assert (response.status_code, response.json()) == (200, expected)


def test_metadata_and_metrics_are_answered_by_the_sdk(system: System) -> None:
    assert httpx.get(f"{system.through}/v2/models/{MODEL}", timeout=20).json()["name"] == MODEL
    assert "tidegauge_served_total" in httpx.get(system.through + "/metrics", timeout=20).text


def test_a_graceful_stop_leaves_a_record_of_every_request_and_a_whole_account(system: System) -> None:
    ids = [f"stop-{number}" for number in range(40)]
    with httpx.Client(timeout=20) as client:
        for request_id in ids:
            headers, body = as_json({"instances": ROWS}, **{"x-request-id": request_id})
            assert client.post(system.through + V1, headers=headers, content=body).status_code == 200
    assert system.transformer.stop() == 0
    records, heartbeats = read_all(system)
    assert {record.id for record in records} >= set(ids)
    final = {beat.incarnation: beat for beat in heartbeats if beat.final}
    assert set(final) == {beat.incarnation for beat in heartbeats}
    for incarnation, beat in final.items():
        mine = sorted(record.seq for record in records if record.incarnation == incarnation)
        assert mine == list(range(1, beat.seq + 1))
        assert (beat.account.acknowledged, beat.account.in_flight) == (beat.seq, 0)
        assert beat.account.balances()


def read_all(system: System) -> tuple[list[InferenceRecord], list[Heartbeat]]:
    """All that is on the topic."""
    topic = system.topic
    consumer = Consumer({"bootstrap.servers": system.broker, "group.id": "t", "log_level": 0})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    ends = sum(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions)
    raw: list[bytes] = []
    deadline = time.monotonic() + 15
    while len(raw) < ends and time.monotonic() < deadline:
        raw += [m.value() for m in consumer.consume(500, 0.2) if m.error() is None]
    consumer.close()
    for data in raw:
        document = json.loads(data)
        SCHEMAS[document["kind"]].validate(document)
    messages = [decode(data) for data in raw]
    return (
        [message for message in messages if isinstance(message, InferenceRecord)],
        [message for message in messages if isinstance(message, Heartbeat)],
    )
