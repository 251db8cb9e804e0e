"""The running transformer before predictors that answer oddly, late or not at all; the broker is down throughout."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml

from tidegauge.baseline import BaselineProfile

PREDICT = "/v1/models/sums:predict"
ROW = {"instances": [[0.1, 0.2, 0.3]]}


def answer(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Scripted:
    """A predictor that does what the current test put in `script`."""

    def __init__(self) -> None:
        self.script: Any = None

    async def __call__(self, asked: Any, writer: asyncio.StreamWriter) -> None:
        await self.script(asked, writer)

    def says(self, *chunks: bytes) -> None:
        async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
            for chunk in chunks:
                writer.write(chunk)

        self.script = script


@pytest.fixture(scope="module")
def predictor() -> Scripted:
    return Scripted()


@pytest.fixture(scope="module")
def monitor_file(tmp_path_factory: pytest.TempPathFactory, profile: BaselineProfile) -> Path:
    directory = tmp_path_factory.mktemp("monitor")
    (directory / "baseline.json").write_bytes(profile.dump())
    document = {
        "apiVersion": "tidegauge.io/v1alpha1",
        "kind": "ModelMonitor",
        "metadata": {"name": "sums"},
        "spec": {
            "model": {"name": "sums"},
            "baseline": {"file": "baseline.json"},
            "kafka": {"bootstrapServers": "127.0.0.1:1"},
        },
    }
    (directory / "monitor.yaml").write_text(yaml.safe_dump(document))
    return directory / "monitor.yaml"


@pytest.fixture(scope="module")
def start_transformer(start_program: Callable[..., Any], monitor_file: Path) -> Callable[..., Any]:
    def start(predictor_port: int, *more: str) -> Any:
        host = f"127.0.0.1:{predictor_port}"
        return start_program(
            "transformer",
            *("--monitor", str(monitor_file), "--predictor_host", host, *more),
            ready="transformer serving",
        )

    return start


@pytest.fixture(scope="module")
def url(
    predictor: Scripted, threaded_stub: Callable[[Any], Any], start_transformer: Callable[..., Any]
) -> Iterator[str]:
    stub = threaded_stub(predictor)
    limits = ("--max_body_bytes", "100000", "--predictor_request_timeout_seconds", "0.5")
    program = start_transformer(stub.port, *limits)
    yield program.url
    program.process.kill()  # asked to stop, it would wait for the broker until its time is over


def post(url: str, content: Any = None, **headers: str) -> httpx.Response:
    return httpx.post(
        url + PREDICT, content=json.dumps(ROW) if content is None else content, headers=headers, timeout=20
    )


@pytest.mark.parametrize("status", [b"400 Bad Request", b"418 Teapot", b"500 No", b"503 Busy"])
def test_errors_of_the_predictor_pass_as_they_are(url: str, predictor: Scripted, status: bytes) -> None:
    predictor.says(answer(b'{"detail": "mine"}', status, b"retry-after: 3"))
    response = post(url)
    assert response.status_code == int(status[:3])
    assert (response.content, response.headers["retry-after"]) == (b'{"detail": "mine"}', "3")
    assert response.headers["x-outlier"] == "0"


def test_repeated_headers_and_compressed_bodies_pass_as_they_are(url: str, predictor: Scripted) -> None:
    packed = gzip.compress(b'{"predictions": [1]}')
    predictor.says(answer(packed, b"200 OK", b"set-cookie: a=1", b"set-cookie: b=2", b"content-encoding: gzip"))
    with httpx.stream("POST", url + PREDICT, json=ROW, timeout=20) as response:
        assert b"".join(response.iter_raw()) == packed
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.headers["content-encoding"] == "gzip"


def test_the_predictor_gets_the_request_byte_for_byte(url: str, predictor: Scripted) -> None:
    asked: list[Any] = []

    async def script(request: Any, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        writer.write(answer(b"{}"))

    predictor.script = script
    body = b'{ "instances" : [[1.10, 2e0 , 3]] }\n'
    post(url, body, authorization="Bearer x", tracestate="a=b", **{"content-type": "text/odd"})
    assert asked[0].body == body
    for line in (b"authorization: Bearer x", b"tracestate: a=b", b"content-type: text/odd"):
        assert line in asked[0].head


def test_a_chunked_request_arrives_whole(url: str, predictor: Scripted) -> None:
    asked: list[Any] = []

    async def script(request: Any, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        writer.write(answer(b"{}"))

    predictor.script = script
    body = json.dumps(ROW).encode()
    response = post(url, iter([body[:5], body[5:20], body[20:]]))
    assert asked[0].body == body
    assert response.headers["x-outlier"] == "0"


def test_a_streamed_answer_comes_piece_by_piece(url: str, predictor: Scripted) -> None:
    go_on = threading.Event()

    async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait, 10)
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")

    predictor.script = script
    with httpx.stream("POST", url + PREDICT, json=ROW, timeout=20) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first"
        go_on.set()
        assert b"".join(pieces) == b"last"
    assert response.headers["x-outlier"] == "0"


def test_an_answer_cut_short_is_cut_short_for_the_client_too(url: str, predictor: Scripted) -> None:
    async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        writer.close()

    predictor.script = script
    with pytest.raises(httpx.RemoteProtocolError):
        post(url)


def test_a_slow_predictor_is_504_and_the_error_names_no_address(url: str, predictor: Scripted) -> None:
    async def script(_asked: Any, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    predictor.script = script
    response = post(url)
    assert (response.status_code, response.json()) == (504, {"error": "the predictor did not answer in time"})
    assert response.headers["x-outlier"] == "0", "scored all the same"


def test_what_is_no_answer_is_502(url: str, predictor: Scripted) -> None:
    predictor.says(b"220 smtp ready\r\n")
    assert post(url).status_code == 502


def test_too_long_a_body_is_413_whether_announced_or_not(url: str, predictor: Scripted) -> None:
    predictor.says(answer(b"{}"))
    body = b"x" * 100_001
    expected = {"error": "the request body is longer than 100000 bytes"}
    for content in (body, iter([body[:50_000], body[50_000:]])):
        response = post(url, content)
        assert (response.status_code, response.json()) == (413, expected)
    assert post(url, body[:100_000]).status_code == 200


@pytest.mark.parametrize(
    ("body", "outlier"),
    [
        (b"", "unknown"),
        (b"\xff\xfe\x00", "unknown"),
        (b"[" * 90_000, "unknown"),
        (b'{"instances": [["\\ud800", 1e999, null]]}', "1"),
        (b'{"instances": [[1, 2, 3]]', "unknown"),
        (b'{"instances": [[1, 2]]}', None),
        (b'{"instances": [{"a": 1, "z": {}}]}', None),
        (b'{"instances": [[1e308, -1e308, 1e308]]}', "1"),
    ],
    ids=["empty", "no text", "nested", "nothing usable", "cut", "too narrow", "odd names", "absurd values"],
)
def test_hostile_bodies_are_forwarded_and_answered(
    url: str, predictor: Scripted, body: bytes, outlier: str | None
) -> None:
    asked: list[Any] = []

    async def script(request: Any, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        writer.write(answer(b'{"predictions": [1]}'))

    predictor.script = script
    response = post(url, body)
    assert (response.status_code, asked[0].body) == (200, body)
    assert outlier in (None, response.headers["x-outlier"])


def test_a_predictor_that_is_down_is_503(start_transformer: Callable[..., Any], free_port: Callable[[], int]) -> None:
    program = start_transformer(free_port())
    response = post(program.url)
    assert (response.status_code, response.json()) == (503, {"error": "the predictor cannot be reached"})
    assert httpx.get(program.url + "/nowhere", timeout=20).status_code == 503
    assert httpx.get(program.url + "/v2/health/live", timeout=20).status_code == 200
    program.process.kill()


def test_before_a_predictor_of_grpc_alone_rest_is_501_and_calls_go_through(
    start_transformer: Callable[..., Any], free_port: Callable[[], int]
) -> None:
    port = free_port()
    program = start_transformer(free_port(), "--predictor_protocol", "grpc-v2", "--grpc_port", str(port))
    response = post(program.url)
    assert (response.status_code, response.json()) == (
        501,
        {"error": "the predictor speaks gRPC only: call the gRPC port"},
    )
    assert httpx.get(program.url + "/v2/health/live", timeout=20).status_code == 200
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(b"", timeout=20)
    assert (error.value.code(), error.value.details()) == (
        grpc.StatusCode.UNAVAILABLE,
        "the predictor cannot be reached",
    )
    program.process.kill()


def test_metrics_account_for_every_request(url: str, predictor: Scripted) -> None:
    predictor.says(answer(b'{"predictions": [1]}'))
    before = metrics(url)
    for body in (json.dumps(ROW).encode(), b"{"):
        post(url, body)
    deadline = time.monotonic() + 10
    while (after := metrics(url))["tidegauge_served_total"] < before["tidegauge_served_total"] + 2:
        assert time.monotonic() < deadline
    assert after['tidegauge_issues_total{kind="not_json"}'] > before.get('tidegauge_issues_total{kind="not_json"}', 0)
    assert after["tidegauge_records_in_flight"] == after["tidegauge_served_total"], "the broker is down"


def metrics(url: str) -> dict[str, float]:
    text = httpx.get(url + "/metrics", timeout=20).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("tidegauge_")]
    return {name: float(value) for name, value in lines}


def test_requests_under_way_are_answered_when_the_process_is_asked_to_stop(
    threaded_stub: Callable[[Any], Any], start_transformer: Callable[..., Any]
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait, 10)
        writer.write(answer(b'{"predictions": [1]}'))

    program = start_transformer(threaded_stub(script).port)
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=20)
    connection.request("POST", PREDICT, json.dumps(ROW))
    assert reached.wait(10)
    program.process.terminate()
    deadline = time.monotonic() + 10
    while _accepts(program.port):  # until it takes no new connections
        assert time.monotonic() < deadline
    go_on.set()
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b'{"predictions": [1]}')
    assert program.process.wait(25) == 0, "with the broker down, what is left is dropped and counted"
    assert "dropped={'stopped': 1}" in "".join(program.output)


def _accepts(port: int) -> bool:
    probe = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        probe.connect()
    except OSError:
        return False
    probe.close()
    return True


def test_a_suspended_monitor_forwards_and_does_nothing_else(
    threaded_stub: Callable[[Any], Any], start_program: Callable[..., Any], monitor_file: Path
) -> None:
    document = yaml.safe_load(monitor_file.read_text())
    document["spec"]["suspend"] = True
    suspended = monitor_file.with_name("suspended.yaml")
    suspended.write_text(yaml.safe_dump(document))
    predictor = Scripted()
    predictor.says(answer(b'{"predictions": [1]}'))
    host = f"127.0.0.1:{threaded_stub(predictor).port}"
    program = start_program(
        "transformer", "--monitor", str(suspended), "--predictor_host", host, ready="transformer serving"
    )
    response = post(program.url)
    assert (response.status_code, response.content) == (200, b'{"predictions": [1]}')
    assert not [name for name in response.headers if name.startswith("x-outlier")]
    assert program.stop() == 0


def test_workers_do_not_outlive_a_supervisor_that_was_killed(
    start_program: Callable[..., Any], monitor_file: Path, free_port: Callable[[], int]
) -> None:
    program = start_program(
        "transformer",
        *("--monitor", str(monitor_file), "--predictor_host", f"127.0.0.1:{free_port()}", "--workers", "2"),
        ready="transformer serving",
        times=2,
    )
    program.process.kill()
    deadline = time.monotonic() + 10
    while _accepts(program.port):
        assert time.monotonic() < deadline
