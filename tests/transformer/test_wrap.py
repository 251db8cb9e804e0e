"""A user's own transformer inside ours: the SDK's behaviour for its users, and our records of it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from localsystem.dataset import load_shuttle
from tests.support.topics import record_of
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec
from transformer.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
MODEL = "shuttle"
V1, V2 = f"/v1/models/{MODEL}:predict", f"/v2/models/{MODEL}/infer"
WRAP = "tests.transformer.obedient:Obedient"

ROWS = (np.arange(18, dtype=float).reshape(2, 9) + 20).tolist()
DOUBLED = [[2 * value for value in row] for row in ROWS]
TENSOR = {"name": "x", "shape": [2, 9], "datatype": "FP64", "data": ROWS}


@pytest.fixture(scope="module")
def shuttle_profile() -> BaselineProfile:
    data = load_shuttle()
    schema = FeatureSchema(tuple(FeatureSpec(name) for name in data.names))
    return BaselineProfile.fit(data.rows[:4000], schema, outlier=data.anomaly[:4000])


@pytest.fixture(scope="module")
def wrap(
    shared_broker: str,
    shuttle_profile: BaselineProfile,
    start_program: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Any]]:
    """(predictor's port, topic, more arguments, more of the spec) -> a running transformer with Obedient inside."""
    running: list[Any] = []

    def start(predictor: int, topic: str, *more: str, wrapped: str = WRAP, times: int = 1, **spec: Any) -> Any:
        monitor = tmp_path_factory.mktemp("monitor") / "monitor.yaml"
        monitor.with_name("baseline.json").write_bytes(shuttle_profile.dump())
        document = {
            "apiVersion": "tidegauge.io/v1alpha1",
            "kind": "ModelMonitor",
            "metadata": {"name": MODEL},
            "spec": {
                "model": {"name": MODEL},
                "baseline": {"file": "baseline.json"},
                "kafka": {"bootstrapServers": shared_broker, "topics": {"inference": {"name": topic}}},
                **spec,
            },
        }
        monitor.write_text(yaml.safe_dump(document))
        arguments = ("--monitor", str(monitor), "--predictor_host", f"127.0.0.1:{predictor}", "--wrap", wrapped, *more)
        running.append(start_program("transformer", *arguments, ready="transformer serving", times=times))
        return running[-1]

    yield start
    for program in running:
        if program.process.poll() is None:
            program.stop()


@pytest.fixture(scope="module")
def predictor(start_program: Callable[..., Any]) -> Any:
    return start_program("localsystem.predictor", "--model_name", MODEL, ready="Uvicorn running")


@dataclass
class Sides:
    """The same class, served by KServe's SDK alone and inside the transformer, by predictor protocol."""

    stock: dict[str, Any]
    ours: dict[str, Any]


@pytest.fixture(scope="module")
def sides(predictor: Any, wrap: Callable[..., Any], start_program: Callable[..., Any]) -> Sides:
    stock, ours = {}, {}
    for protocol in ("v1", "v2"):
        told = ("--predictor_host", f"127.0.0.1:{predictor.port}", "--predictor_protocol", protocol)
        stock[protocol] = start_program(
            "tests.transformer.obedient", "--model_name", MODEL, *told, ready="Uvicorn running"
        )
        ours[protocol] = wrap(predictor.port, f"wrapped-{protocol}", "--predictor_protocol", protocol)
    return Sides(stock, ours)


def as_json(document: object) -> tuple[bytes, dict[str, str]]:
    return json.dumps(document).encode(), {"content-type": "application/json"}


def binary_tensor() -> tuple[bytes, dict[str, str]]:
    data = np.array(ROWS, dtype=np.float64).tobytes()
    tensor = {"name": "x", "shape": [2, 9], "datatype": "FP64", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"id": "7", "inputs": [tensor]}).encode()
    return head + data, {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}


CALLS: dict[str, tuple[str, str, tuple[bytes, dict[str, str]], str]] = {
    "v1": ("v1", V1, as_json({"instances": ROWS}), ""),
    "v1 refused": ("v1", V1, as_json({"instances": ROWS}), "refuse"),
    "v1 with a status of its own": ("v1", V1, as_json({"instances": ROWS}), "teapot"),
    "v1 failed": ("v1", V1, as_json({"instances": ROWS}), "fail"),
    "v1 not JSON": ("v1", V1, (b"{", {"content-type": "application/json"}), ""),
    "v1 without the predictor": ("v1", V1, as_json({"instances": ROWS}), "answer by yourself"),
    "v1 streamed": ("v1", V1, as_json({"instances": ROWS}), "stream"),
    "v2": ("v2", V2, as_json({"id": "7", "inputs": [TENSOR]}), ""),
    "v2 binary": ("v2", V2, binary_tensor(), ""),
    "v2 refused": ("v2", V2, as_json({"id": "7", "inputs": [TENSOR]}), "refuse"),
    "v2 not JSON": ("v2", V2, (b"{", {"content-type": "application/json"}), ""),
    "v2 with a version": ("v2", f"/v2/models/{MODEL}/versions/1/infer", as_json({"inputs": [TENSOR]}), ""),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_client_gets_what_the_sdk_alone_gives_it(sides: Sides, name: str) -> None:
    protocol, path, (body, headers), order = CALLS[name]
    told = headers | {"x-do": order, "x-request-id": name}
    stock, ours = (
        httpx.post(side[protocol].url + path, content=body, headers=told, timeout=20)
        for side in (sides.stock, sides.ours)
    )
    assert (ours.status_code, ours.content) == (stock.status_code, stock.content)
    assert end_to_end(ours) == end_to_end(stock)
    assert ours.headers["x-request-id"] == name and "x-outlier" in ours.headers


def end_to_end(response: httpx.Response) -> list[tuple[str, str]]:
    own = ("x-outlier", "x-request-id", "date", "server")  # the last two are those of the SDK's own HTTP server
    return sorted((name, value) for name, value in response.headers.multi_items() if not name.startswith(own))


@pytest.mark.parametrize("name", ["v1", "v2", "v2 binary"])
def test_what_goes_to_the_predictor_is_what_is_scored_and_its_answer_what_is_recorded(
    sides: Sides, shared_broker: str, name: str
) -> None:
    protocol, path, (body, headers), _ = CALLS[name]
    identity = f"scored {name}"
    response = httpx.post(
        sides.ours[protocol].url + path, content=body, headers=headers | {"x-request-id": identity}, timeout=20
    )
    record = record_of(shared_broker, f"wrapped-{protocol}", identity)
    assert record.features == DOUBLED
    assert (record.protocol, record.status, record.issues, record.rows) == (protocol, 200, {}, 2)
    assert isinstance(record.predictions, list) and all(value in (0, 1) for value in record.predictions)
    assert len(response.headers["x-outlier"].split(",")) == 2
    assert 0 < record.upstream_ms < record.latency_ms


@pytest.mark.parametrize(
    ("order", "status", "rows", "issues"),
    [
        ("refuse", 400, 0, {"not_sent_to_predictor": 1}),
        ("answer by yourself", 200, 0, {"not_sent_to_predictor": 1}),
        ("ask twice", 200, 2, {"further_calls_not_scored": 1}),
    ],
)
def test_what_was_not_scored_is_said(
    sides: Sides, shared_broker: str, order: str, status: int, rows: int, issues: dict[str, int]
) -> None:
    body, headers = as_json({"instances": ROWS})
    told = headers | {"x-do": order, "x-request-id": order}
    response = httpx.post(sides.ours["v1"].url + V1, content=body, headers=told, timeout=20)
    record = record_of(shared_broker, "wrapped-v1", order)
    assert (response.status_code, record.status, record.rows) == (status, status, rows)
    assert issues.items() <= record.issues.items()


@dataclass
class Scripted:
    """A predictor that does what the current test put in `script`."""

    script: Any = None

    async def __call__(self, asked: Any, writer: asyncio.StreamWriter) -> None:
        await self.script(asked, writer)

    def says(self, status: bytes, body: bytes, *headers: bytes) -> list[Any]:
        asked: list[Any] = []

        async def script(request: Any, writer: asyncio.StreamWriter) -> None:
            asked.append(request)
            lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)

        self.script = script
        return asked


@pytest.fixture(scope="module")
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture(scope="module")
def of_scripted(scripted: Scripted, threaded_stub: Callable[[Any], Any], wrap: Callable[..., Any]) -> Any:
    """Two workers, what the client sends is scored, and outliers are rejected."""
    return wrap(
        threaded_stub(scripted).port,
        "wrapped-scripted",
        *("--score", "input", "--workers", "2", "--predictor_request_timeout_seconds", "2"),
        times=2,
        outliers={"policy": "reject"},
    )


def usual_row() -> list[float]:
    data = load_shuttle()
    row: list[float] = np.median(data.rows[:4000][~data.anomaly[:4000].astype(bool)], axis=0).tolist()
    return row


def post(url: str, **headers: str) -> httpx.Response:
    return httpx.post(url + V1, json={"instances": [usual_row()]}, headers=headers, timeout=20)


def test_headers_pass_to_the_predictor(of_scripted: Any, scripted: Scripted) -> None:
    asked = scripted.says(b"200 OK", b'{"predictions": [1]}')
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    for number in range(6):  # to both workers
        post(
            of_scripted.url,
            authorization="Bearer x",
            traceparent=trace,
            **{"x-custom": str(number), "user-agent": "mine/1", "tracestate": "a=b"},
        )
    for number, request in enumerate(asked):
        head = request.head.lower()
        for line in (f"x-custom: {number}", "authorization: bearer x", f"traceparent: {trace}", "user-agent: mine/1"):
            assert head.count(line.encode()) == 1, head
        assert head.count(b"content-type:") == head.count(b"content-length:") == head.count(b"host:") == 1
        assert json.loads(request.body) == {"instances": [[2 * value for value in usual_row()]]}


def test_what_the_client_sent_is_scored_where_that_is_asked_for(
    of_scripted: Any, scripted: Scripted, shared_broker: str
) -> None:
    scripted.says(b"200 OK", b'{"predictions": [1]}')
    response = post(of_scripted.url, **{"x-request-id": "input"})
    assert (response.json(), response.headers["x-outlier"]) == ({"labels": ["class 1"]}, "0")
    record = record_of(shared_broker, "wrapped-scripted", "input")
    assert record.features == [usual_row()]
    assert record.issues == {"no_predictions": 1}, "of what the client got"


def test_outliers_are_rejected_as_ever(of_scripted: Any, scripted: Scripted) -> None:
    scripted.says(b"200 OK", b'{"predictions": [1]}')
    response = httpx.post(of_scripted.url + V1, json={"instances": [[1e6] * 9]}, timeout=20)
    assert response.status_code == 422 and response.json()["error"].startswith("rejected")


@pytest.mark.parametrize("status", [b"400 Bad Request", b"418 Teapot", b"500 No", b"503 Busy"])
def test_errors_of_the_predictor_keep_their_status_body_and_headers(
    of_scripted: Any, scripted: Scripted, status: bytes
) -> None:
    scripted.says(status, b'{"detail": "mine"}', b"retry-after: 3")
    response = post(of_scripted.url)
    assert response.status_code == int(status[:3])
    assert (response.content, response.headers["retry-after"]) == (b'{"detail": "mine"}', "3")


def test_a_slow_or_broken_predictor_is_told_without_its_address(of_scripted: Any, scripted: Scripted) -> None:
    async def slow(_asked: Any, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(10)

    async def broken(_asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        writer.close()

    for script, status in ((slow, 504), (broken, 502)):
        scripted.script = script
        response = post(of_scripted.url)
        assert response.status_code == status
        assert "127.0.0.1" not in response.text and "predictor" in response.json()["error"]


def test_a_predictor_that_is_down_is_503_and_a_suspended_monitor_still_runs_the_class(
    wrap: Callable[..., Any], free_port: Callable[[], int]
) -> None:
    program = wrap(free_port(), "wrapped-down", suspend=True)
    response = post(program.url)
    assert (response.status_code, response.json()) == (503, {"error": "the predictor cannot be reached"})
    own = post(program.url, **{"x-do": "answer by yourself"})
    assert (own.status_code, own.json()) == (200, {"labels": ["class -1"]})
    assert not [name for name in own.headers if name.startswith("x-outlier")]
    assert program.stop() == 0


def test_the_example_of_the_documentation_works(
    predictor: Any, wrap: Callable[..., Any], shared_broker: str, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "wrap.md").read_text()
    file = tmp_path / "transformer.py"  # a name that many have given theirs
    match = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert match
    file.write_text(match[1])
    program = wrap(predictor.port, "wrapped-example", wrapped=f"{file}:Readings")
    request = re.search(r"-d '(.*?)'", page)
    assert request
    headers = {"x-request-id": "example"}
    response = httpx.post(program.url + V1, json=json.loads(request[1]), headers=headers, timeout=20)
    assert response.json() == {"verdicts": ["anomaly"]}
    assert record_of(shared_broker, "wrapped-example", "example").predictions == [1]
    wrong = httpx.post(program.url + V1, json={"readings": [{"f0": 1}]}, timeout=20)
    assert (wrong.status_code, wrong.json()) == (400, {"error": "expected readings with f0 to f8"})
    assert json.loads(request[1]).keys() == {"readings"}


@pytest.mark.parametrize(
    ("wrapped", "said"),
    [
        ("nowhere.at.all:T", "cannot import nowhere.at.all"),
        ("tests.transformer.obedient:None_", "has no None_"),
        ("tests.transformer.obedient", "expected FILE.py:Class or module:Class"),
        ("tests.transformer.obedient:no-name", "expected module:Name"),
        ("nowhere.py:T", "no such file"),
        ("tests/transformer/obedient.py:T", "it has no T"),
        ("tests/transformer/obedient.py:", "expected FILE.py:Class or module:Class"),
        ("tests.transformer.obedient:NoModel", "no subclass of kserve.Model"),
        ("tests.transformer.obedient:ROOT", "has no ROOT"),
        ("tests.transformer.obedient:Nameless", "with the model's name alone: TypeError"),
        ("tests.transformer.obedient:Renamed", "it calls itself 'sums-2'"),
        ("tests.transformer.obedient:NeverReady", "it is not ready after load()"),
        ("tests.transformer.obedient:argparse", "expected a class"),
    ],
)
def test_a_class_that_cannot_be_had_is_one_line_and_exit_code_2(
    write_monitor: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wrapped: str,
    said: str,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [*sys.path])
    arguments = ["--monitor", str(write_monitor()), "--predictor_host", "p", "--wrap", wrapped]
    monkeypatch.setattr("sys.argv", ["transformer", *arguments])
    assert main() == 2
    told = capsys.readouterr().err
    assert told.startswith("transformer: --wrap") and said in told and told.count("\n") == 1, told


def test_a_file_that_fails_while_it_is_imported_is_said_so(
    tmp_path: Path,
    write_monitor: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / "broken.py"
    file.write_text("import sys\nsys.exit('one\\ntwo')\n")
    arguments = ["--monitor", str(write_monitor()), "--predictor_host", "p", "--wrap", f"{file}:T"]
    monkeypatch.setattr("sys.argv", ["transformer", *arguments])
    assert main() == 2
    assert "importing it failed: SystemExit: one two" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["transformer", *arguments[:-2], "--score", "input"])
    assert main() == 2
    assert "without --wrap" in capsys.readouterr().err
