"""A call through the transformer against the same to a predictor that behaves badly: the same, or a stated error."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httptools
import pytest
import yaml

from tidegauge.baseline import BaselineProfile

PREDICT = "/v1/models/sums:predict"
BODY = json.dumps({"instances": [[0.1, 0.2, 0.3]]}).encode()
LIMIT_BYTES = 32 << 20

Script = Callable[[Any, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Answer:
    """ended: "whole", "closed" or "reset" before it was whole."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    ended: str = "whole"

    @property
    def end_to_end(self) -> tuple[int, list[tuple[bytes, bytes]], bytes, str]:
        connection = (b"connection", b"keep-alive", b"transfer-encoding", b"trailer", b"x-private", b"x-request-id")
        ours = [pair for pair in self.headers if pair[0] in connection or pair[0].startswith(b"x-outlier")]
        ended = "whole" if self.ended == "whole" else "cut short"
        return self.status, [pair for pair in self.headers if pair not in ours], self.body, ended


class _Final:
    """The first answer that is not informational; what follows it is not looked at."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.done = self._headed = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self.done:
                raise

    @property
    def has_end(self) -> bool:
        """The answer says itself where it ends."""
        framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.answer.headers)
        return framed or not self._headed

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:
            self.answer.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._headed:
            return
        self.answer.status = self._parser.get_status_code()
        self._headed = self.answer.status >= 200
        if not self._headed:
            self.answer.headers = []

    def on_body(self, chunk: bytes) -> None:
        if not self.done:
            self.answer.body += chunk

    def on_message_complete(self) -> None:
        self.done = self._headed


def call(port: int, method: str = "POST", path: str = PREDICT, body: bytes = BODY) -> Answer:
    """Over a raw socket, since no client would show what it makes of a bad answer."""
    final = _Final()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        try:
            while not final.done and (data := connection.recv(1 << 16)):
                final.feed(data)
        except ConnectionResetError:
            final.answer.ended = "reset"
            return final.answer
    if not final.done and final.has_end:
        final.answer.ended = "closed"
    return final.answer


class Predictor:
    """Does what the current test put in `script`; counts what it was asked by path."""

    def __init__(self) -> None:
        self.script: Script
        self.asked: Counter[str] = Counter()

    async def __call__(self, asked: Any, writer: asyncio.StreamWriter) -> None:
        self.asked[asked.head.split(b" ", 2)[1].decode()] += 1
        await self.script(asked, writer)


@dataclass
class System:
    predictor: Predictor
    direct: int
    through: int


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def system(
    request: pytest.FixtureRequest,
    threaded_stub: Callable[[Any], Any],
    start_program: Callable[..., Any],
    profile: BaselineProfile,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
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
    predictor = Predictor()
    stub = threaded_stub(predictor)
    program = start_program(
        "transformer",
        *("--monitor", str(directory / "monitor.yaml"), "--predictor_host", f"127.0.0.1:{stub.port}"),
        *("--workers", str(request.param), "--predictor_request_timeout_seconds", "10"),
        *("--max_buffered_bytes", str(LIMIT_BYTES), "--client_timeout_seconds", "2"),
        ready="transformer serving",
        times=request.param,
    )
    yield System(predictor, stub.port, program.port)
    program.process.kill()  # asked to stop, it would wait for the broker until its time is over


def says(*pieces: bytes, then: str = "stay") -> Script:
    """Writes the pieces one by one; then stays, closes or resets."""

    async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.005)
        if then == "close":
            writer.close()
        elif then == "reset":
            reset(writer)

    return script


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n"
MANY = b"".join(b"x-%d: %s\r\n" % (number, b"v" * 100) for number in range(300))

SAME: dict[str, Script] = {
    "byte by byte": says(*(bytes([byte]) for byte in OK + b"content-length: 3\r\n\r\nabc")),
    "head and body apart": says(OK + b"content-length: 3\r\n\r\n", b"abc"),
    "cut short": says(OK + b"content-length: 10\r\n\r\nhalf", then="close"),
    "reset in the body": says(OK + b"content-length: 100000\r\n\r\nhalf", then="reset"),
    "a chunk cut short": says(CHUNKED + b"\r\n9\r\nhalf", then="close"),
    "no last chunk": says(CHUNKED + b"\r\n" + chunked(b"half", end=b""), then="close"),
    "reset between chunks": says(CHUNKED + b"\r\n" + chunked(b"half", end=b""), then="reset"),
    "more than announced": says(OK + b"content-length: 3\r\n\r\nabcdef"),
    "a second answer": says(OK + b"content-length: 1\r\n\r\na" + OK + b"content-length: 4\r\n\r\nevil"),
    "early hints": says(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", OK + b"content-length: 1\r\n\r\na"),
    "continue": says(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK + b"content-length: 1\r\n\r\na"),
    "a huge header": says(OK + b"x-huge: " + b"v" * 200_000 + b"\r\ncontent-length: 1\r\n\r\na"),
    "many headers": says(OK + MANY + b"content-length: 1\r\n\r\na"),
    "headers as they come": says(
        OK + b"X-Mixed: A\r\nset-cookie: a\r\nSet-Cookie: b\r\nx-empty:\r\nx-odd: \xe9\r\ncontent-length: 0\r\n\r\n"
    ),
    "headers of the connection": says(
        OK + b"connection: x-private\r\nx-private: 1\r\nkeep-alive: timeout=5\r\ncontent-length: 1\r\n\r\na"
    ),
    "chunked": says(CHUNKED + b"\r\n" + chunked(b"one", b"two" * 5000, b"3")),
    "chunked with extensions and trailers": says(CHUNKED + b"\r\n3;x=y\r\nabc\r\n0\r\nx-late: 1\r\n\r\n"),
    "packed": says(OK + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x00\x01"),
    "until the connection ends": says(b"HTTP/1.0 200 OK\r\n\r\nall of it", then="close"),
    "closing after it": says(OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi", then="close"),
    "empty": says(OK + b"content-length: 0\r\n\r\n"),
    "no content": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not modified": says(b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"),
    "no reason": says(b"HTTP/1.1 429\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"),
    "an odd status": says(b"HTTP/1.1 599 Odd\r\ncontent-length: 1\r\n\r\na"),
    "large": says(OK + b"content-length: 3000000\r\n\r\n", b"x" * 3_000_000),
}


@pytest.mark.parametrize("name", SAME)
def test_bad_answers_come_as_bad_as_they_are(system: System, name: str) -> None:
    system.predictor.script = SAME[name]
    direct = call(system.direct)
    for _ in range(3):  # also on a connection that such an answer has left behind
        through = call(system.through)
        assert through.end_to_end == direct.end_to_end
        assert (b"x-outlier", b"0") in through.headers


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (says(b"220 smtp ready\r\n"), 502),
        (says(OK + b"content-le", then="close"), 502),
        (says(OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab"), 502),
        (says(OK + b"x-endless: " + b"v" * (1 << 21)), 502),
        (says(b"HTTP/1.1 103 Early Hints\r\n\r\n", then="close"), 502),
        (says(then="close"), 503),
        (says(then="reset"), 503),
    ],
    ids=["not HTTP", "half a head", "two lengths", "a head too long", "hints alone", "nothing", "a reset"],
)
def test_what_is_no_answer_is_an_error_in_the_protocols_form_and_asked_for_once(
    system: System, script: Script, status: int
) -> None:
    system.predictor.script = script
    fresh_connections(system)
    before = system.predictor.asked[PREDICT]
    answer = call(system.through)
    assert answer.status == status and set(json.loads(answer.body)) == {"error"}
    assert b"127.0.0.1" not in answer.body
    assert (b"x-outlier", b"0") in answer.headers, "scored all the same"
    assert system.predictor.asked[PREDICT] == before + 1


def fresh_connections(system: System) -> None:
    """The pooled ones are closed by the predictor, with its answer."""
    script, system.predictor.script = system.predictor.script, SAME["closing after it"]
    with socket.create_connection(("127.0.0.1", system.through)) as probe:
        probe.settimeout(20)
    for _ in range(8):
        assert call(system.through).status == 200
    system.predictor.script = script


def closing_used_connections() -> Script:
    """Answers the first request of a connection; reads any other and closes, as at the end of an idle timeout."""

    async def script(asked: Any, writer: asyncio.StreamWriter) -> None:
        if asked.number == 1:
            writer.write(OK + b"content-length: 1\r\n\r\na")
        else:
            writer.close()

    return script


def test_predictions_survive_connections_that_close_as_they_are_used(system: System) -> None:
    system.predictor.script = closing_used_connections()
    before = system.predictor.asked[PREDICT]
    assert [call(system.through).status for _ in range(10)] == [200] * 10
    assert system.predictor.asked[PREDICT] - before <= 20, "each was sent again once at most"


def test_only_what_may_be_done_twice_is_sent_again(system: System) -> None:
    system.predictor.script = closing_used_connections()
    explain, load = "/v1/models/sums:explain", "/v2/repository/models/sums/load"
    for path in (explain, load):
        statuses = [call(system.through, path=path).status for _ in range(10)]
        assert set(statuses) == {200, 503}
        assert system.predictor.asked[path] == 10, "each was sent once"
    for method in ("GET", "PUT", "DELETE"):
        statuses = [call(system.through, method, f"/some/{method}").status for _ in range(4)]
        assert statuses == [200] * 4


def test_slow_and_fast_answers_do_not_mix(system: System) -> None:
    """Each request names its answer; they end in another order than they came."""

    async def script(asked: Any, writer: asyncio.StreamWriter) -> None:
        name = asked.head.split(b"?", 1)[1].split(b" ", 1)[0]
        await asyncio.sleep(0.001 * (int(name) * 7 % 50))
        writer.write(OK + b"content-length: %d\r\n\r\n%s" % (len(name), name))

    system.predictor.script = script
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = call(system.through, path=f"{PREDICT}?{number}").body

    in_parallel([lambda number=number: ask(number) for number in range(100)])
    assert answers == {number: str(number).encode() for number in range(100)}


def in_parallel(calls: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=each) for each in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("pieces", [False, True], ids=["announced", "in pieces"])
def test_many_long_bodies_at_once_are_held_only_as_far_as_there_is_room(system: System, pieces: bool) -> None:
    """Counted at the predictor, which gets a request only when all of its body is held, and answers none meanwhile."""
    size, clients = 6 << 20, 14
    held = most = 0
    go_on = threading.Event()
    statuses: list[int] = []

    async def script(asked: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal held, most
        held += len(asked.body)
        most = max(most, held)
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait, 8)
        held -= len(asked.body)
        writer.write(OK + b"content-length: 0\r\n\r\n")

    def ask() -> None:
        statuses.append(long_call(system.through, size, in_pieces=pieces))

    system.predictor.script = script
    before = system.predictor.asked[PREDICT]
    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 15
    while system.predictor.asked[PREDICT] == before:
        assert time.monotonic() < deadline
    go_on.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    workers = 2
    assert most <= workers * LIMIT_BYTES
    assert set(statuses) <= ({200, 503} if pieces else {200}) and 200 in statuses
    assert len(statuses) == clients


def long_call(port: int, size: int, *, in_pieces: bool) -> int:
    """Its status. The client may be refused while it sends."""
    piece = bytes(1 << 18)
    framing = b"transfer-encoding: chunked" if in_pieces else b"content-length: %d" % size
    final = _Final()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with suppress(ConnectionError):
            connection.sendall(b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n")
            for _ in range(size // len(piece)):
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if in_pieces else piece)
            if in_pieces:
                connection.sendall(b"0\r\n\r\n")
        try:
            while not final.done and (data := connection.recv(1 << 16)):
                final.feed(data)
        except ConnectionError:
            return 503  # refused, and closed with our bytes unread, before we could read the answer
    return final.answer.status


def test_a_client_that_stops_in_the_middle_of_its_body_is_told_so(system: System) -> None:
    with socket.create_connection(("127.0.0.1", system.through), timeout=20) as connection:
        connection.sendall(b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nab")
        answer = b""
        while data := connection.recv(1 << 16):  # until the connection is closed
            answer += data
        assert answer.startswith(b"HTTP/1.1 408 ") and b"did not come in time" in answer
