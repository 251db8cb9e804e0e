"""What a client may do with one connection: pieces, pipelines, closing, idling, leaving. The answers are the same."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tidegauge.baseline import BaselineProfile

PATH = b"/v1/models/sums:predict"
BODY = b'{"instances": [[0.1, 0.2, 0.3]]}'
ANSWER = b'{"predictions": [1]}'
WITHIN_S = 10.0


@pytest.fixture(scope="module")
def transformer(serve_monitor: Callable[..., Any], constant_predictor: Any, profile: BaselineProfile) -> Iterator[Any]:
    constant_predictor.says = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
    yield serve_monitor(profile, "client-connections")


def request(*headers: bytes, method: bytes = b"POST", path: bytes = PATH, version: bytes = b"1.1") -> bytes:
    body = BODY if method == b"POST" else b""
    length = (b"Content-Length: %d" % len(body),) if body else ()
    head = (b"%s %s HTTP/%s" % (method, path, version), b"Host: sums", *length, *headers)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@contextmanager
def connected(transformer: Any) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", transformer.port), timeout=WITHIN_S) as connection:
        yield connection


class Answers:
    """Read one by one from a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._rest = connection, b""

    def next(self) -> tuple[bytes, dict[bytes, bytes], bytes]:
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        length = int(headers.get(b"content-length", b"0"))
        while len(self._rest) < length:
            self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return status, headers, body

    def _more(self) -> None:
        data = self._connection.recv(1 << 16)
        assert data, "the connection was closed"
        self._rest += data


def assert_prediction(answer: tuple[bytes, dict[bytes, bytes], bytes]) -> None:
    status, headers, body = answer
    assert (status, body) == (b"HTTP/1.1 200 OK", ANSWER)
    assert headers[b"x-outlier"] == b"0"
    assert re.fullmatch(rb"[0-9a-f-]{36}", headers[b"x-request-id"])


def test_a_connection_carries_many_requests(transformer: Any) -> None:
    with connected(transformer) as connection:
        answers = Answers(connection)
        ids = set()
        for _ in range(20):
            connection.sendall(request())
            answer = answers.next()
            assert_prediction(answer)
            ids.add(answer[1][b"x-request-id"])
        assert len(ids) == 20


def test_a_request_may_come_in_pieces_cut_anywhere(transformer: Any) -> None:
    whole = request()
    for cut in (*range(1, len(whole), 7), len(whole) - len(BODY), len(whole) - 1):
        with connected(transformer) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(whole[:cut])
            health(transformer)  # by its answer the first piece has been read
            connection.sendall(whole[cut:])
            assert_prediction(Answers(connection).next())


def test_pipelined_requests_are_answered_in_their_order(transformer: Any) -> None:
    with connected(transformer) as connection:
        live = request(method=b"GET", path=b"/v2/health/live")
        connection.sendall(request(b"x-request-id: one") + live + request(b"x-request-id: two") + request())
        answers = Answers(connection)
        first, second, third, fourth = (answers.next() for _ in range(4))
        assert [first[1][b"x-request-id"], third[1][b"x-request-id"]] == [b"one", b"two"]
        assert json.loads(second[2])["live"] is True
        assert (first[2], third[2], fourth[2]) == (ANSWER, ANSWER, ANSWER)
        connection.sendall(request())
        assert_prediction(answers.next())


@pytest.mark.parametrize("sent", [request(b"Connection: close"), request(version=b"1.0")], ids=["close", "HTTP/1.0"])
def test_a_client_that_wants_its_connection_closed_gets_its_answer_first(transformer: Any, sent: bytes) -> None:
    with connected(transformer) as connection:
        connection.sendall(sent)
        assert_prediction(Answers(connection).next())
        assert connection.recv(1) == b""


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(transformer: Any) -> None:
    with connected(transformer) as connection:
        whole = request(b"Expect: 100-continue")
        connection.sendall(whole[: -len(BODY)])
        answers = Answers(connection)
        assert answers.next()[0] == b"HTTP/1.1 100 Continue"
        connection.sendall(BODY)
        assert_prediction(answers.next())


def test_what_is_no_request_is_refused_on_a_used_connection_too(transformer: Any) -> None:
    with connected(transformer) as connection:
        answers = Answers(connection)
        connection.sendall(request())
        assert_prediction(answers.next())
        connection.sendall(b"nonsense\r\n\r\n")
        assert answers.next()[0] == b"HTTP/1.1 400 Bad Request"


def test_requests_whose_clients_left_are_recorded_all_the_same(transformer: Any) -> None:
    before = served(transformer)
    for _ in range(5):
        with connected(transformer) as connection:
            connection.sendall(request())
    wait_until(
        lambda: served(transformer) == before + 5 and in_flight(transformer) == 0,
        within_s=WITHIN_S,
        what="five records delivered",
    )


def test_an_idle_connection_is_closed_in_time_and_a_used_one_is_not(
    start_program: Callable[..., Any], transformer: Any
) -> None:
    arguments = transformer.process.args[3:-2]  # those of the running one, but for its port
    impatient = start_program("transformer", *arguments, "--timeout-keep-alive", "1", ready="transformer serving")
    with connected(impatient) as used, connected(impatient) as idle:
        idle.sendall(request())
        assert_prediction(Answers(idle).next())
        answers, began = Answers(used), time.monotonic()
        idle.setblocking(False)
        while not closed(idle):
            assert time.monotonic() - began < WITHIN_S
            used.sendall(request())
            assert_prediction(answers.next())
        assert time.monotonic() - began > 0.5
        used.sendall(request())
        assert_prediction(answers.next())


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


def health(transformer: Any) -> None:
    _get(transformer, "/v2/health/live")


def served(transformer: Any) -> float:
    return metric(transformer, "tidegauge_served_total")


def in_flight(transformer: Any) -> float:
    return metric(transformer, "tidegauge_records_in_flight")


def metric(transformer: Any, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", _get(transformer, "/metrics"), re.MULTILINE)
    assert found
    return float(found[1])


def _get(transformer: Any, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", transformer.port, timeout=WITHIN_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
