"""Load on a server, and what it costs: wrk at full speed, single requests at a fixed rate, CPU time and memory."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import httptools
import numpy as np
import orjson
import uvloop

from benchmarks.serving_sides import PATH, Side
from localsystem.ports import HOST
from localsystem.processes import session_members
from tidegauge.features import Matrix

OPEN_LOOP_CONNECTIONS: Final = 64
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

SCRIPT: Final = """
local rows = {{ {bodies} }}
local requests, next = {{}}, 0
init = function(args)
    for i, body in ipairs(rows) do
        requests[i] = wrk.format("POST", "{path}", {{["Content-Type"] = "application/json"}}, body)
    end
end
request = function()
    next = next % #requests + 1
    return requests[next]
end
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format("requests=%d failed=%d p50_us=%d p99_us=%d\\n", summary.requests,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """cpu_us: user and system time of the server's processes per request."""

    requests: int
    failed: int
    per_s: float
    p50_us: float
    p99_us: float
    cpu_us: float


def write_script(path: Path, rows: Matrix) -> Path:
    """For wrk: one row a request, another each time."""
    bodies = ", ".join(f"'{body.decode()}'" for body in bodies_of(rows))
    path.write_text(SCRIPT.format(bodies=bodies, path=PATH))
    return path


def bodies_of(rows: Matrix) -> list[bytes]:
    return [orjson.dumps({"instances": [row]}) for row in rows.tolist()]


def run_wrk(side: Side, script: Path, *, connections: int, seconds: float) -> Load:
    before, began = cpu_seconds(side), time.perf_counter()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(script)]
    output = subprocess.run([*command, f"http://{HOST}:{side.port}"], capture_output=True, text=True, check=True).stdout
    took, cpu = time.perf_counter() - began, cpu_seconds(side) - before
    told = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", output)}
    return Load(
        requests=told["requests"],
        failed=told["failed"],
        per_s=told["requests"] / took,
        p50_us=told["p50_us"],
        p99_us=told["p99_us"],
        cpu_us=1e6 * cpu / max(told["requests"], 1),
    )


def cpu_seconds(side: Side) -> float:
    """User and system time of all processes of the side so far."""
    ticks = 0
    for pid in session_members(side.process.pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def resident_bytes(side: Side) -> int:
    return sum(
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES for pid in session_members(side.process.pid)
    )


def open_loop_us(
    side: Side, rows: Matrix, *, per_s: int, seconds: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """
    Latency of every request, in microseconds, from the moment it was due: what waits because the server is busy, or
    because all connections are, counts as waiting.
    """
    return uvloop.run(_open_loop(side.port, bodies_of(rows), per_s, round(per_s * seconds)))


async def _open_loop(
    port: int, bodies: list[bytes], per_s: int, requests: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    loop = asyncio.get_running_loop()
    heads = [
        b"POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (PATH.encode(), len(body), body)
        for body in bodies
    ]
    run = _Run(requests)
    for _ in range(OPEN_LOOP_CONNECTIONS):
        await loop.create_connection(lambda: _Client(run), HOST, port)
    start = time.perf_counter() + 0.1  # the loop's own clock has milliseconds
    for number in range(requests):
        due = start + number / per_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        run.send(due, heads[number % len(heads)])
    await asyncio.wait_for(run.finished.wait(), 30)
    for client in run.clients:
        client.close()
    return np.array(run.latencies_us)


class _Run:
    def __init__(self, requests: int) -> None:
        self.latencies_us: list[float] = []
        self.clients: list[_Client] = []
        self.idle: deque[_Client] = deque()
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.finished = asyncio.Event()
        self._requests = requests

    def send(self, due: float, request: bytes) -> None:
        if self.idle:
            self.idle.popleft().send(due, request)
        else:
            self.waiting.append((due, request))

    def answered(self, client: _Client, latency_us: float) -> None:
        self.latencies_us.append(latency_us)
        if self.waiting:
            client.send(*self.waiting.popleft())
        else:
            self.idle.append(client)
        if len(self.latencies_us) == self._requests:
            self.finished.set()


class _Client(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, run: _Run) -> None:
        self._run, self._due = run, 0.0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._run.clients.append(self)
        self._run.idle.append(self)

    def send(self, due: float, request: bytes) -> None:
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() != 200:
            raise RuntimeError(f"answered {self._parser.get_status_code()}")
        self._run.answered(self, 1e6 * (time.perf_counter() - self._due))

    def close(self) -> None:
        self._transport.close()
