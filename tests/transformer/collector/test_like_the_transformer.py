"""The record of a request is the same whether the transformer served it or the collector was told of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import yaml

from localsystem.dataset import load_shuttle
from tests.support.topics import record_of, records_of
from tests.support.waiting import wait_until
from tests.transformer.collector.agent_events import REQUEST, RESPONSE, agent_headers, structured
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.records import InferenceRecord

MODEL = "shuttle"
V1, V2 = f"/v1/models/{MODEL}:predict", f"/v2/models/{MODEL}/infer"
OF_THE_RUN = {"latency_ms", "upstream_ms", "time_ms", "incarnation", "seq"}

ROWS = np.arange(18, dtype=float).reshape(2, 9).tolist()
TENSOR: dict[str, Any] = {"name": "x", "shape": [2, 9], "datatype": "FP64", "data": ROWS}


def binary_request(*, answer_binary: bool) -> tuple[bytes, dict[str, str]]:
    data = np.array(ROWS, dtype=np.float32).tobytes()
    tensor = TENSOR | {"datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
    del tensor["data"]
    document = {"id": "7", "inputs": [tensor]}
    if answer_binary:
        document["parameters"] = {"binary_data_output": True}
    head = json.dumps(document).encode()
    return head + data, {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }


def json_request(document: object) -> tuple[bytes, dict[str, str]]:
    return json.dumps(document).encode(), {"content-type": "application/json"}


CALLS: dict[str, tuple[str, tuple[bytes, dict[str, str]]]] = {
    "v1": (V1, json_request({"instances": ROWS})),
    "v1 unlike the baseline": (V1, json_request({"instances": [[1e6, 0, -50, 1, 2, 3, 4, 5, 6]]})),
    "v2 nested": (V2, json_request({"id": "7", "inputs": [TENSOR]})),
    "v2 flat": (V2, json_request({"id": "7", "inputs": [TENSOR | {"data": [v for row in ROWS for v in row]}]})),
    "v2 binary in": (V2, binary_request(answer_binary=False)),
    "v2 binary in and out": (V2, binary_request(answer_binary=True)),
    "400 rows": (V1, json_request({"instances": load_shuttle().rows[:400].tolist()})),
}
"""All answered 200, since KServe's agent tells of no other answers."""


@dataclass
class System:
    predictor: str
    transformer: str
    collector: str
    broker: str
    grpc_port: int


@pytest.fixture(scope="module")
def system(
    shared_broker: str,
    start_program: Callable[..., Any],
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    data = load_shuttle()
    schema = FeatureSchema(tuple(FeatureSpec(name) for name in data.names))
    profile = BaselineProfile.fit(data.rows[:4000], schema, outlier=data.anomaly[:4000])
    monitors = [monitor_file(tmp_path_factory.mktemp(topic), profile, shared_broker, topic) for topic in ("t", "c")]
    grpc_of_predictor, grpc_port = str(free_port()), free_port()
    predictor = start_program(
        "localsystem.predictor", "--model_name", MODEL, "--grpc_port", grpc_of_predictor, ready="Uvicorn running"
    )
    host = f"127.0.0.1:{predictor.port}"
    transformer = start_program(
        "transformer",
        *("--monitor", str(monitors[0]), "--predictor_host", host, "--predictor_protocol", "v2"),
        *("--predictor_grpc_host", f"127.0.0.1:{grpc_of_predictor}", "--grpc_port", str(grpc_port)),
        ready="transformer serving",
    )
    collector = start_program(
        "transformer.collector", "--monitor", str(monitors[1]), "--hold_seconds", "0.2", ready="collector serving"
    )
    yield System(predictor.url, transformer.url, collector.url, shared_broker, grpc_port)
    transformer.stop()
    collector.stop()


def monitor_file(directory: Path, profile: BaselineProfile, broker: str, topic: str) -> Path:
    (directory / "baseline.json").write_bytes(profile.dump())
    document = {
        "apiVersion": "tidegauge.io/v1alpha1",
        "kind": "ModelMonitor",
        "metadata": {"name": MODEL},
        "spec": {
            "model": {"name": MODEL},
            "baseline": {"file": "baseline.json"},
            "kafka": {"bootstrapServers": broker, "topics": {"inference": {"name": topic}}},
            # The same rows are scored before the answer and after it, and come out the same.
            "outliers": {"budgetMs": 1000},
        },
    }
    path = directory / "monitor.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def emit(url: str, headers: dict[str, str], body: bytes) -> None:
    response = httpx.post(url, headers=headers, content=body, timeout=20)
    assert (response.status_code, response.content) == (200, b"")


def without_the_run(record: InferenceRecord) -> dict[str, Any]:
    return {name: value for name, value in asdict(record).items() if name not in OF_THE_RUN}


@pytest.mark.parametrize("order", ["request first", "response first"])
def test_records_of_the_agents_events_equal_the_transformers(system: System, order: str) -> None:
    ids = {name: f"{order}-{number}" for number, name in enumerate(CALLS)}
    for name, (path, (body, headers)) in CALLS.items():
        noted = {"X-Request-Id": ids[name], "Traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        answer = httpx.post(system.transformer + path, content=body, headers=headers | noted, timeout=20)
        assert answer.status_code == 200, answer.text
        of_both = {"metadata": noted, "Ce_Inferenceservicename": MODEL, "Ce_Namespace": "default"}
        identity, content_type = "ce-" + ids[name], {"Content_Type": headers["content-type"]}
        halves = [
            (agent_headers(identity, REQUEST, **of_both, **content_type), body),  # type: ignore[arg-type]
            (agent_headers(identity, RESPONSE, **of_both, **content_type), answer.content),  # type: ignore[arg-type]
        ]
        for half in halves if order == "request first" else halves[::-1]:
            emit(system.collector, *half)
    served = records_of(system.broker, "t", ids.values())
    collected = records_of(system.broker, "c", ids.values())
    for name, identity in ids.items():
        assert without_the_run(collected[identity]) == without_the_run(served[identity]), name
        assert collected[identity].rows and collected[identity].predictions is not None, name
        assert collected[identity].issues == {}
    assert any(True in record.outlier for record in collected.values())


def test_structured_and_batched_events_make_the_same_record(system: System) -> None:
    body = {"instances": ROWS}
    answer = httpx.post(system.transformer + V1, json=body, headers={"x-request-id": "s"}, timeout=20)
    of_both = {"inferenceservicename": MODEL, "namespace": "default"}
    for identity, send_as in (("structured", "cloudevents"), ("batched", "cloudevents-batch")):
        metadata = json.dumps({"X-Request-Id": [identity]})
        halves = [
            structured(identity, REQUEST, data=body, metadata=metadata, **of_both),
            structured(identity, RESPONSE, data=answer.json(), metadata=metadata, **of_both),
        ]
        for document in [halves] if send_as == "cloudevents-batch" else halves:
            emit(system.collector, {"content-type": f"application/{send_as}+json"}, json.dumps(document).encode())
    served = without_the_run(records_of(system.broker, "t", ["s"])["s"])
    for identity, record in records_of(system.broker, "c", ["structured", "batched"]).items():
        assert without_the_run(record) == served | {"id": identity}


def test_grpc_events_make_the_record_of_the_grpc_call(system: System, pb: Any) -> None:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=(2, 9))
    raw = np.array(ROWS, dtype="<f4").tobytes()
    request = pb.ModelInferRequest(model_name=MODEL, inputs=[tensor], raw_input_contents=[raw]).SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{system.grpc_port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        answer = infer(request, metadata=(("x-request-id", "grpc"),), timeout=20)
    for kind, message in ((REQUEST, request), (RESPONSE, answer)):
        of_call = {"Content_Type": "application/grpc", "Ce_Inferenceservicename": MODEL, "Ce_Namespace": "default"}
        headers = agent_headers("ce-grpc", kind, metadata={"X-Request-Id": "grpc"}, **of_call)  # type: ignore[arg-type]
        emit(system.collector, headers, b"\0" + len(message).to_bytes(4, "big") + message)
    served, collected = (record_of(system.broker, topic, "grpc") for topic in ("t", "c"))
    assert without_the_run(collected) == without_the_run(served)
    assert (collected.protocol, collected.features, collected.issues) == ("grpc", ROWS, {})
    assert collected.predictions is not None


@pytest.mark.skipif("KSERVE_AGENT" not in os.environ, reason="KSERVE_AGENT names no binary of KServe's agent")
def test_the_agent_itself_makes_the_transformers_record(system: System, free_port: Callable[[], int]) -> None:
    binary = shutil.which(os.environ["KSERVE_AGENT"])
    assert binary, "KSERVE_AGENT is no program"
    port = free_port()
    told = {
        "--port": str(port),
        "--component-port": system.predictor.rpartition(":")[2],
        "--log-url": system.collector + "/",
        "--log-mode": "all",
        "--source-uri": "http://localhost/",
        "--inference-service": MODEL,
        "--namespace": "default",
        "--endpoint": "default",
        "--component": "predictor",
        "--metadata-headers": "X-Request-Id",
    }
    agent = subprocess.Popen(
        [binary, *(word for option in told.items() for word in option)],
        env=os.environ | {"SERVING_READINESS_PROBE": "", "SERVING_LOGGING_LEVEL": "error"},
    )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), within_s=20, what="the agent serves")
        for name, (path, (body, headers)) in CALLS.items():
            noted = {"X-Request-Id": f"agent-{name}"}
            for url in (system.transformer, f"http://127.0.0.1:{port}"):
                assert httpx.post(url + path, content=body, headers=headers | noted, timeout=20).status_code == 200
        ids = [f"agent-{name}" for name in CALLS]
        served, collected = records_of(system.broker, "t", ids), records_of(system.broker, "c", ids)
        for identity in ids:
            assert without_the_run(collected[identity]) == without_the_run(served[identity])
            assert collected[identity].latency_ms > 0
    finally:
        agent.kill()
        agent.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code < 500
    except httpx.TransportError:
        return False
