"""Profiles, monitor files, a broker in the process, and predictors that do exactly what a test says."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np
import pytest
import yaml
from confluent_kafka import Producer

from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec

ROOT = Path(__file__).resolve().parents[2]
START_WITHIN_S = 60.0
FEATURES = ("a", "b", "c")


@pytest.fixture(scope="session")
def profile() -> BaselineProfile:
    """Three independent standard normal features, 2,000 rows."""
    schema = FeatureSchema(tuple(FeatureSpec(name) for name in FEATURES))
    return BaselineProfile.fit(np.random.default_rng(5).normal(size=(2000, 3)), schema)


@pytest.fixture(scope="session")
def pb() -> Any:
    """KServe's own gRPC messages. Its SDK parses the command line as it is imported."""
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        from kserve.protocol.grpc import grpc_predict_v2_pb2
    finally:
        sys.argv = arguments
    return grpc_predict_v2_pb2


@pytest.fixture
def monitor_document() -> dict[str, Any]:
    return {
        "apiVersion": "tidegauge.io/v1alpha1",
        "kind": "ModelMonitor",
        "metadata": {"name": "sums", "namespace": "tests"},
        "spec": {
            "model": {"name": "sums", "version": "7"},
            "baseline": {"file": "sums-baseline.json"},
            "kafka": {"bootstrapServers": "127.0.0.1:1"},
        },
    }


@pytest.fixture
def write_monitor(tmp_path: Path, profile: BaselineProfile, monitor_document: dict[str, Any]) -> Callable[[str], Path]:
    """(bootstrap servers) -> path of a monitor file with its baseline beside it."""

    def write(bootstrap_servers: str = "127.0.0.1:1") -> Path:
        monitor_document["spec"]["kafka"]["bootstrapServers"] = bootstrap_servers
        (tmp_path / "sums-baseline.json").write_bytes(profile.dump())
        path = tmp_path / "sums.yaml"
        path.write_text(yaml.safe_dump(monitor_document))
        return path

    return write


@pytest.fixture
def broker() -> Iterator[str]:
    """librdkafka's own broker: real protocol, real sockets, in this process."""
    yield from _broker()


@pytest.fixture(scope="module")
def shared_broker() -> Iterator[str]:
    yield from _broker()


def _broker() -> Iterator[str]:
    host = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 0})
    yield ",".join(f"{b.host}:{b.port}" for b in host.list_topics(timeout=10).brokers.values())


@dataclass
class Asked:
    """One request as a stub predictor got it. connection: which one, from 1; number: on that connection, from 1."""

    head: bytes
    body: bytes
    connection: int
    number: int


Script = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Stub:
    """An HTTP server whose answers a script writes byte by byte. After the script the connection stays open."""

    script: Script
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection, number = self.connections, 0
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
                number += 1
                self.asked.append(Asked(head, body, connection, number))
                await self.script(self.asked[-1], writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def _stub(script: Script) -> AsyncIterator[Stub]:
    stub = Stub(script)
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    stub.port = server.sockets[0].getsockname()[1]
    try:
        yield stub
    finally:
        server.close()


@pytest.fixture
def stub_predictor() -> Callable[[Script], Any]:
    """(script) -> async context manager of a Stub on a free port."""
    return _stub


@pytest.fixture(scope="module")
def threaded_stub() -> Iterator[Callable[[Script], Stub]]:
    """(script) -> a Stub that serves from a thread until the module ends."""
    stops: list[Callable[[], None]] = []

    def start(script: Script) -> Stub:
        started: Queue[tuple[Stub, asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

        async def run() -> None:
            stop = asyncio.Event()
            async with _stub(script) as stub:
                started.put((stub, asyncio.get_running_loop(), stop))
                await stop.wait()

        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        stub, loop, stop = started.get(timeout=10)

        def end() -> None:
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            assert not thread.is_alive()

        stops.append(end)
        return stub

    yield start
    for stop in stops:
        stop()


@dataclass
class ConstantPredictor:
    """Answers every request with the bytes in `says`."""

    says: bytes = b""
    asked: list[Asked] = field(default_factory=list)

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.asked.append(asked)
        writer.write(self.says)


@pytest.fixture(scope="module")
def constant_predictor() -> ConstantPredictor:
    return ConstantPredictor()


@dataclass
class Program:
    process: subprocess.Popen[str]
    port: int
    output: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, within_s: float = 30.0) -> int:
        """Asks it to end, as Kubernetes does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find


@pytest.fixture(scope="module")
def start_program(free_port: Callable[[], int]) -> Iterator[Callable[..., Program]]:
    """(module, arguments, ready line, times it must come, port) -> the running program; stopped with the module."""
    running: list[Program] = []

    def start(module: str, *arguments: str, ready: str, times: int = 1, port: int | None = None) -> Program:
        port = port or free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--http_port", str(port)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        program = Program(process, port)
        running.append(program)
        lines: Queue[str] = Queue()
        assert process.stdout is not None
        threading.Thread(target=_read, args=(process.stdout, lines, program.output), daemon=True).start()
        for _ in range(times):
            _await_line(ready, lines, program)
        return program

    yield start
    for program in running:
        if program.process.poll() is None:
            program.process.terminate()
            try:
                program.process.wait(20)
            except subprocess.TimeoutExpired:
                program.process.kill()
                program.process.wait(5)


@pytest.fixture(scope="module")
def serve_monitor(
    constant_predictor: ConstantPredictor,
    threaded_stub: Callable[[Script], Stub],
    start_program: Callable[..., Program],
    shared_broker: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Program]]:
    """
    (profile, topic, capture section, spool, arguments, outliers section) -> a running transformer of the model "sums"
    before the constant predictor. spool: its directory, and Kafka cannot be reached.
    """
    running: list[Program] = []

    def start(
        profile: BaselineProfile,
        topic: str,
        *,
        capture: dict[str, Any] | None = None,
        spool: Path | None = None,
        more: tuple[str, ...] = (),
        **outliers: Any,
    ) -> Program:
        directory = tmp_path_factory.mktemp("monitor")
        (directory / "baseline.json").write_bytes(profile.dump())
        document = {
            "apiVersion": "tidegauge.io/v1alpha1",
            "kind": "ModelMonitor",
            "metadata": {"name": "sums"},
            "spec": {
                "model": {"name": "sums"},
                "baseline": {"file": "baseline.json"},
                "kafka": {
                    "bootstrapServers": "127.0.0.1:1" if spool else shared_broker,
                    "topics": {"inference": {"name": topic}, "outliers": {"name": f"{topic}-outliers"}},
                },
                "transformer": {"spool": {"directory": str(spool)}} if spool else {},
                "capture": capture or {},
                "outliers": outliers,
            },
        }
        monitor = directory / "monitor.yaml"
        monitor.write_text(yaml.safe_dump(document))
        host = f"127.0.0.1:{threaded_stub(constant_predictor).port}"
        arguments = ("--monitor", str(monitor), "--predictor_host", host, *more)
        running.append(start_program("transformer", *arguments, ready="transformer serving"))
        return running[-1]

    yield start
    for program in running:  # while there is a broker to take their last records
        program.stop()


def _read(stream: Any, lines: Queue[str], output: list[str]) -> None:
    for line in stream:
        output.append(line)
        lines.put(line)
    lines.put("")


def _await_line(ready: str, lines: Queue[str], program: Program) -> None:
    try:
        while line := lines.get(timeout=START_WITHIN_S):
            if ready in line:
                return
    except Empty:
        pass
    raise AssertionError(f"it did not say {ready!r}:\n{''.join(program.output)}")
