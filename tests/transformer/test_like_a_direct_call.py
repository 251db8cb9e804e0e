"""A call through the transformer against the same call to a real KServe predictor: the same, but for our headers."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
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
    grpc_direct: int
    grpc_through: int


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def system(
    request: pytest.FixtureRequest,
    shared_broker: str,
    start_program: Callable[..., Any],
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    topic = f"inference-{request.param}"
    monitor = _monitor(tmp_path_factory.mktemp("monitor"), shared_broker, topic=topic)
    grpc_ports = free_port(), free_port()
    predictor = start_program(
        "localsystem.predictor", *("--model_name", MODEL, "--grpc_port", str(grpc_ports[0])), ready="Uvicorn running"
    )
    transformer = start_program(
        "transformer",
        *("--monitor", str(monitor), "--model_name", MODEL, "--workers", str(request.param)),
        *("--predictor_host", f"127.0.0.1:{predictor.port}", "--predictor_protocol", "v2"),
        *("--predictor_grpc_host", f"127.0.0.1:{grpc_ports[0]}", "--grpc_port", str(grpc_ports[1])),
        ready="transformer serving",
        times=request.param,
    )
    yield System(predictor.url, transformer.url, shared_broker, topic, transformer, *grpc_ports)
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


def binary(datatype: str, data: bytes, **parameters: object) -> tuple[dict[str, str], bytes]:
    tensor = TENSOR | {"datatype": datatype, "parameters": {"binary_data_size": len(data)}}
    del tensor["data"]
    head = json.dumps({"id": "7", "inputs": [tensor], "parameters": parameters}).encode()
    return {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}, head + data


def floats(kind: str) -> bytes:
    return np.array(ROWS, dtype=kind).tobytes()


def texts() -> bytes:
    return b"".join(len(text).to_bytes(4, "little") + text for text in [b"1.5", "\u00e9".encode(), b""] * 6)


def cloud_event(**enclosed: object) -> dict[str, object]:
    return {"specversion": "1.0", "id": "e1", "source": "tests", "type": "a.b", "data": enclosed}


V1 = f"/v1/models/{MODEL}:predict"
V2 = f"/v2/models/{MODEL}/infer"
JSON = json.dumps({"instances": ROWS}).encode()
EVENT_HEADERS = {"ce-specversion": "1.0", "ce-id": "e1", "ce-source": "tests", "ce-type": "a.b"}
AS_OUTPUT = {"name": "anomaly", "parameters": {"binary_data": True}}

CALLS: dict[str, tuple[str, str, tuple[dict[str, str], bytes | list[bytes]]]] = {
    "v1": ("POST", V1, as_json({"instances": ROWS})),
    "v1 pretty printed": (
        "POST",
        V1,
        ({"content-type": "application/json"}, json.dumps({"instances": ROWS}, indent=3).encode()),
    ),
    "v1 with a charset": ("POST", V1, ({"content-type": "application/json; charset=utf-8"}, JSON)),
    "v1 as plain text": ("POST", V1, ({"content-type": "text/plain; charset=iso-8859-1"}, JSON)),
    "v1 as a form": ("POST", V1, ({"content-type": "application/x-www-form-urlencoded"}, JSON)),
    "v1 without a type": ("POST", V1, ({}, JSON)),
    "v1 as no text": ("POST", V1, ({"content-type": "application/octet-stream"}, bytes(range(256)))),
    "v1 with a query": ("POST", V1 + "?a=1&b=%20", as_json({"instances": ROWS})),
    "v1 in chunks": ("POST", V1, ({"content-type": "application/json"}, [JSON[:7], JSON[7:50], JSON[50:]])),
    "v1 packed": ("POST", V1, ({"content-type": "application/json", "content-encoding": "gzip"}, gzip.compress(JSON))),
    "v1 large": ("POST", V1, as_json({"instances": ROWS * 10_000})),
    "v1 refused": ("POST", V1, as_json({"instances": [["a"] * 9]})),
    "v1 without instances": ("POST", V1, as_json({"rows": ROWS})),
    "v1 not JSON": ("POST", V1, ({"content-type": "application/json"}, b"{")),
    "v1 empty": ("POST", V1, ({"content-type": "application/json"}, b"")),
    "CloudEvent in headers": ("POST", V1, ({"content-type": "application/json"} | EVENT_HEADERS, JSON)),
    "CloudEvent as the body": (
        "POST",
        V1,
        ({"content-type": "application/cloudevents+json"}, json.dumps(cloud_event(instances=ROWS)).encode()),
    ),
    "v2 nested": ("POST", V2, as_json({"id": "7", "inputs": [TENSOR]})),
    "v2 flat": ("POST", V2, as_json({"id": "7", "inputs": [FLAT]})),
    "v2 with a version": ("POST", f"/v2/models/{MODEL}/versions/1/infer", as_json({"id": "7", "inputs": [TENSOR]})),
    "v2 binary": ("POST", V2, binary("FP32", floats("<f4"))),
    "v2 FP16": ("POST", V2, binary("FP16", floats("<f2"))),
    "v2 BYTES": ("POST", V2, binary("BYTES", texts())),
    "v2 binary both ways": ("POST", V2, binary("FP64", floats("<f8"), binary_data_output=True)),
    "v2 binary out": ("POST", V2, as_json({"id": "7", "inputs": [TENSOR], "outputs": [AS_OUTPUT]})),
    "v2 binary too short": ("POST", V2, binary("FP32", floats("<f4")[:-1])),
    "v2 unknown type": ("POST", V2, as_json({"id": "7", "inputs": [TENSOR | {"datatype": "NOPE"}]})),
    "v2 not JSON": ("POST", V2, ({"content-type": "application/json"}, b"{")),
    "other model": ("POST", "/v1/models/other:predict", as_json({"instances": ROWS})),
    "other path": ("GET", "/nowhere", ({}, b"")),
    "explain": ("POST", f"/v1/models/{MODEL}:explain", as_json({"instances": ROWS}, **{"x-request-id": "e"})),
    "predict by GET": ("GET", V1, ({}, b"")),
    "predict by PUT": ("PUT", V1, as_json({"instances": ROWS})),
    "predict by DELETE": ("DELETE", V1, ({}, b"")),
    "predict by HEAD": ("HEAD", V1, ({}, b"")),
    "predict by OPTIONS": ("OPTIONS", V1, ({}, b"")),
    "HEAD": ("HEAD", "/nowhere", ({}, b"")),
}
MONITORED = [name for name, (method, path, _) in CALLS.items() if method == "POST" and path.split("?")[0] in (V1, V2)]


def ask(url: str, name: str, request_id: str) -> httpx.Response:
    method, path, (headers, body) = CALLS[name]
    headers = {"x-request-id": request_id, "x-custom": "1", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"} | headers
    content = iter(body) if isinstance(body, list) else body
    return httpx.request(method, url + path, headers=headers, content=content, timeout=60)


def end_to_end(response: httpx.Response) -> list[tuple[str, str]]:
    ours = ("x-outlier", "x-request-id", "date")
    return sorted(
        (name, CHANCE.sub("*", value)) for name, value in response.headers.multi_items() if not name.startswith(ours)
    )


CHANCE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|20\d\d-\d\d-\d\dT[0-9:.]+")
"""Ids and times that KServe gives each CloudEvent that it answers with."""


def body_of(response: httpx.Response, name: str) -> bytes:
    return CHANCE.sub("*", response.text).encode() if "CloudEvent" in name else response.content


@pytest.mark.parametrize("name", CALLS)
def test_status_headers_and_body_are_the_predictors_own(system: System, name: str) -> None:
    direct, through = ask(system.direct, name, "d"), ask(system.through, name, "t")
    assert (through.status_code, body_of(through, name)) == (direct.status_code, body_of(direct, name))
    if name != "explain":  # KServe's explain sends the request's headers back
        assert end_to_end(through) == end_to_end(direct)
    if name in MONITORED:
        assert through.headers["x-request-id"] == "t"
        assert "x-outlier" in through.headers


MESSAGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "raw": ("ModelInfer", lambda pb: infer(pb, "FP32", raw=floats("<f4"))),
    "raw FP16": ("ModelInfer", lambda pb: infer(pb, "FP16", raw=floats("<f2"))),
    "raw BYTES": ("ModelInfer", lambda pb: infer(pb, "BYTES", raw=texts())),
    "contents": ("ModelInfer", lambda pb: infer(pb, "FP64")),
    "refused": ("ModelInfer", lambda pb: infer(pb, "FP32", raw=floats("<f4"), shape=(3, 6))),
    "both kinds of data": ("ModelInfer", lambda pb: infer(pb, "FP64", raw=floats("<f8"), both=True)),
    "other model": ("ModelInfer", lambda pb: infer(pb, "FP32", raw=floats("<f4"), model="other")),
    "empty": ("ModelInfer", lambda pb: pb.ModelInferRequest()),
    "live": ("ServerLive", lambda pb: pb.ServerLiveRequest()),
    "ready": ("ServerReady", lambda pb: pb.ServerReadyRequest()),
    "metadata": ("ServerMetadata", lambda pb: pb.ServerMetadataRequest()),
    "model ready": ("ModelReady", lambda pb: pb.ModelReadyRequest(name=MODEL)),
    "other model ready": ("ModelReady", lambda pb: pb.ModelReadyRequest(name="other")),
    "model metadata": ("ModelMetadata", lambda pb: pb.ModelMetadataRequest(name=MODEL)),
    "no method": ("Nope", lambda pb: pb.ModelReadyRequest()),
}


def infer(
    pb: Any,
    datatype: str,
    *,
    raw: bytes | None = None,
    both: bool = False,
    shape: tuple[int, int] = (2, 9),
    model: str = MODEL,
) -> Any:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape)
    if raw is None or both:
        tensor.contents.fp64_contents.extend(FLAT["data"])
    return pb.ModelInferRequest(
        id="7", model_name=model, inputs=[tensor], raw_input_contents=[] if raw is None else [raw]
    )


def call(port: int, method: str, message: Any) -> tuple[Any, ...]:
    """Code, details, initial metadata, trailing metadata, message."""
    metadata = (("x-request-id", "g"), ("authorization", "Bearer x"), ("k-bin", b"\xff"))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        send = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        try:
            body, done = send.with_call(message.SerializeToString(), metadata=metadata, timeout=60)
        except grpc.RpcError as error:
            body, done = b"", error
        return done.code(), done.details(), tuple(done.initial_metadata()), tuple(done.trailing_metadata()), body


@pytest.mark.parametrize("name", MESSAGES)
def test_grpc_calls_are_answered_as_by_the_predictor(system: System, pb: Any, name: str) -> None:
    method, message = MESSAGES[name][0], MESSAGES[name][1](pb)
    direct, through = call(system.grpc_direct, method, message), call(system.grpc_through, method, message)
    ours = [(key, value) for key, value in through[3] if key.startswith(("x-outlier", "x-request-id"))]
    rest = tuple(pair for pair in through[3] if pair not in ours)
    assert (*through[:3], rest, through[4]) == direct
    if method == "ModelInfer" and name not in ("other model", "empty"):
        assert "x-outlier" in dict(ours) and dict(ours)["x-request-id"] == "g"
    else:
        assert not ours


@pytest.mark.parametrize("name", ["v1", "v1 in chunks", "CloudEvent as the body", "v2 nested", "v2 flat", "v2 FP16"])
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
