"""
Requests that hypothesis makes up, through the transformer and to the predictor itself: the answers must be the same.

`python -m benchmarks.wire_fuzz [SECONDS]`, 600 by default. The predictor is a uvicorn that tells what it got, byte for
byte; so a request that arrives changed gives another answer. Ends with an error at the first difference, shrunk by
hypothesis to the smallest request that shows it.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httptools
import numpy as np
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks import figures
from localsystem.ports import HOST, free_ports
from localsystem.processes import Process, Processes
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec
from transformer.wire import _HOP_BY_HOP

PREDICT: Final = b"/v1/models/sums:predict"
INFER: Final = b"/v2/models/sums/infer"
ROUND: Final = 2_000
SILENCE_S: Final = 3.0
READY_WITHIN_S: Final = 60.0

Scope = dict[str, Any]


async def echo(scope: Scope, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """ASGI. Answers with what it was asked, framed as the header x-answer says."""
    if scope["type"] != "http":
        return
    digest, size, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        digest.update(message["body"])
        size, more = size + len(message["body"]), message["more_body"]
    named = dict(scope["headers"])
    told = {
        "method": scope["method"],
        "target": [scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")],
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": [size, digest.hexdigest()],
        "predictions": [1],
    }
    body = json.dumps(told).encode()
    status, framing = _STATUSES.get(named.get(b"x-answer", b""), 200), named.get(b"x-framing", b"")
    headers = [(b"content-type", b"application/json"), (b"x-twice", b"1"), (b"x-twice", b"2")]
    if framing == b"length":
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if framing == b"pieces":
        for start in range(0, len(body), 100):
            await send({"type": "http.response.body", "body": body[start : start + 100], "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body})


_STATUSES: Final = {b"created": 201, b"bad": 400, b"teapot": 418, b"failed": 500, b"busy": 503}

_TOKENS: Final = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.!~*'", min_size=1, max_size=20)
_VALUES: Final = st.binary(max_size=40).map(lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F))
_OWN: Final = st.sampled_from(
    [
        (b"Connection", b"keep-alive"),
        (b"Connection", b"x-hop, X-Other"),
        (b"Connection", b"keep-alive , x-late"),
        (b"x-hop", b"1"),
        (b"X-Other", b"2"),
        (b"x-late", b"3"),
        (b"Keep-Alive", b"timeout=1"),
        (b"TE", b"trailers"),
        (b"Expect", b"100-continue"),
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        (b"traceparent", b"00"),
        (b"x-request-id", b"r"),
        (b"ce-id", b"\xe9"),
        (b"content-type", b"application/json; charset=latin-1"),
        (b"content-encoding", b"gzip"),
        (b"inference-header-content-length", b"7"),
        (b"inference-header-content-length", b"-1"),
        (b"x-answer", b"created"),
        (b"x-answer", b"bad"),
        (b"x-answer", b"teapot"),
        (b"x-answer", b"failed"),
        (b"x-answer", b"busy"),
        (b"x-framing", b"length"),
        (b"x-framing", b"pieces"),
        (b"authorization", b"Bearer x"),
    ]
)
_RESERVED: Final = (b"host", b"content-length", b"transfer-encoding", b"upgrade")
_HEADERS: Final = st.lists(
    _OWN | st.tuples(_TOKENS.map(str.encode), _VALUES).filter(lambda pair: pair[0].lower() not in _RESERVED),
    max_size=12,
)
_NUMBERS: Final = st.floats() | st.integers() | st.none() | st.booleans() | st.text(max_size=5)
_DOCUMENTS: Final = st.one_of(
    st.fixed_dictionaries({"instances": st.lists(st.lists(_NUMBERS, max_size=4), max_size=5)}),
    st.fixed_dictionaries(
        {
            "inputs": st.lists(
                st.fixed_dictionaries(
                    {
                        "name": st.sampled_from(["a", "b", "x"]),
                        "shape": st.lists(st.integers(-1, 4), max_size=3),
                        "datatype": st.sampled_from(["FP32", "FP64", "INT8", "BYTES", "NOPE"]),
                        "data": st.lists(_NUMBERS, max_size=6),
                    }
                ),
                max_size=3,
            )
        }
    ),
    st.recursive(_NUMBERS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner), max_leaves=10),
).map(lambda document: json.dumps(document).encode())
_BODIES: Final = st.one_of(
    _DOCUMENTS,
    st.binary(max_size=200),
    st.tuples(_DOCUMENTS, st.binary(max_size=30)).map(b"".join),
    st.integers(60_000, 140_000).map(lambda size: b'{"instances": [' + b"1," * (size // 2) + b"1]}"),
)
_TARGETS: Final = st.tuples(
    st.just(b"POST"),
    st.sampled_from([PREDICT, PREDICT + b"?a=%20&b", INFER, INFER.replace(b"/inf", b"/versions/1/inf")]),
) | st.tuples(
    st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"]),
    st.text("abcXYZ019-_.~%/?&=:;,+!*'()@$", max_size=30).map(lambda rest: b"/x" + rest.encode()),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Whole requests, mostly good ones: a byte of the head may be another one."""
    (method, target), headers, body = draw(_TARGETS), draw(_HEADERS), draw(_BODIES)
    lines = [method + b" " + target + b" HTTP/1.1", b"host: x", *(name + b": " + value for name, value in headers)]
    if draw(st.booleans()):
        lines.append(b"content-length: %d" % len(body))
    else:
        lines.append(b"transfer-encoding: chunked")
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=4)))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    # The framing is the last line: a change there would only make both sides wait for what does not come.
    head = bytearray(b"\r\n".join(lines[:-1]))
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(head) - 1))
        if head[at] not in b"\r\n":
            head[at] = draw(st.integers(0, 255).filter(lambda byte: byte not in b"\r\n"))
    return bytes(head) + b"\r\n" + lines[-1] + b"\r\n\r\n" + body


class _Answer:
    """Of a server, the informational ones left out. done: it is whole."""

    def __init__(self, *, bodyless: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._bodyless = bodyless
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.done = False

    def feed(self, data: bytes) -> None:
        with suppress(httptools.HttpParserError):  # what comes after the answer
            self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status < 200:
            self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self.status >= 200:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = []
        elif self._bodyless:
            self.done = True

    def on_body(self, chunk: bytes) -> None:
        self.body += chunk

    def on_message_complete(self) -> None:
        self.done = self.done or self.status >= 200


def outcome(port: int, request: bytes) -> tuple[object, ...]:
    """What can be compared: status, headers, and what arrived, without what belongs to each connection."""
    answer = _Answer(bodyless=request.startswith(b"HEAD "))
    with socket.create_connection((HOST, port), timeout=SILENCE_S) as connection, suppress(OSError):
        connection.sendall(request)
        while not answer.done and (data := connection.recv(1 << 16)):
            answer.feed(data)
    headers = [(name, value) for name, value in answer.headers if not _is_of_one_side(name)]
    return answer.status, answer.done, headers, _told(answer.body)


def _is_of_one_side(name: str) -> bool:
    return name.startswith("x-outlier") or name in ("x-request-id", "content-length", "transfer-encoding", "connection")


def _told(body: bytes) -> object:
    """The predictor's account of a request, with end-to-end headers alone; other bodies as they are."""
    try:
        told = json.loads(body)
    except ValueError:
        return body
    if not isinstance(told, dict) or "headers" not in told:
        return body
    tokens = [value.lower().split(",") for name, value in told["headers"] if name == "connection"]
    named = {token.strip() for listed in tokens for token in listed}
    dropped = {name.decode() for name in _HOP_BY_HOP} | {"host", "content-length", "expect"} | named
    told["headers"] = [pair for pair in told["headers"] if pair[0] not in dropped]
    return told


def compare(direct: int, through: int, number: int) -> None:
    """One round. Raises AssertionError."""

    @seed(number)
    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(requests())
    def check(request: bytes) -> None:
        expected, got = outcome(direct, request), outcome(through, request)
        assert got == expected, f"direct: {expected!r}\nthrough: {got!r}"

    check()


def _monitor(directory: Path) -> Path:
    schema = FeatureSchema(tuple(FeatureSpec(name) for name in "abc"))
    profile = BaselineProfile.fit(np.random.default_rng(5).normal(size=(2000, 3)), schema)
    (directory / "baseline.json").write_bytes(profile.dump())
    spec = {
        "model": {"name": "sums"},
        "baseline": {"file": "baseline.json"},
        "kafka": {"bootstrapServers": "127.0.0.1:1"},  # down: what is delivered is not the question here
    }
    document = {
        "apiVersion": "tidegauge.io/v1alpha1",
        "kind": "ModelMonitor",
        "metadata": {"name": "sums"},
        "spec": spec,
    }
    path = directory / "monitor.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _start(processes: Processes, monitor: Path, direct: int, through: int) -> Process:
    root = Path(__file__).resolve().parents[1]
    quiet = ("--http", "httptools", "--ws", "none", "--no-date-header", "--no-server-header", "--log-level", "critical")
    predictor = processes.start(
        "predictor",
        (
            sys.executable,
            "-m",
            "uvicorn",
            "benchmarks.wire_fuzz:echo",
            "--port",
            str(direct),
            "--lifespan",
            "off",
            *quiet,
        ),
        cwd=root,
    )
    predictor.wait_until(lambda: _accepts(direct), within_s=READY_WITHIN_S, what="ready")
    transformer = processes.start(
        "transformer",
        (
            *(sys.executable, "-m", "transformer", "--monitor", monitor, "--http_port", str(through)),
            *("--predictor_host", f"{HOST}:{direct}", "--log_level", "error"),
        ),
        cwd=root,
        environment={"PYTHONUNBUFFERED": "1"},
    )
    transformer.wait_until(lambda: transformer.logged("transformer serving"), within_s=READY_WITHIN_S, what="ready")
    return transformer


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    direct, through = free_ports(2)
    with tempfile.TemporaryDirectory() as name, Processes(Path(name) / "logs") as processes:
        transformer = _start(processes, _monitor(Path(name)), direct, through)
        started, rounds = time.monotonic(), 0
        while time.monotonic() < started + seconds:
            compare(direct, through, rounds)
            rounds += 1
            assert transformer.is_running(), transformer.failure("ended")
            assert not transformer.logged("Traceback"), transformer.failure("raised")
        took = time.monotonic() - started
    figures.write("wire_fuzz", {"requests": rounds * ROUND, "seconds": round(took), "differences": 0, "crashes": 0})


if __name__ == "__main__":
    main()
