"""An answer whose head was parsed before says the same as one that is parsed; whatever differs is parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from transformer.known_heads import LOOKS, MOST_HEADS, REST, KnownHeads
from transformer.upstream import Upstream
from transformer.wire import answer_head

HEADERS = [(b"Server", b"s"), (b"Connection", b"keep-alive"), (b"Content-Length", b"5")]
HEAD = b"HTTP/1.1 200 OK\r\nServer: s\r\nConnection: keep-alive\r\nContent-Length: 5"
ANSWER = HEAD + b"\r\n\r\nhello"
REQUEST = b"POST /v1/models/sums:predict HTTP/1.1\r\nhost: p\r\ncontent-length: 4\r\n\r\n"


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def knowing() -> KnownHeads:
    heads = KnownHeads()
    heads.learn(ANSWER, 200, HEADERS)
    return heads


def test_a_known_head_has_all_that_parsing_it_gave() -> None:
    found = knowing().find(HEAD + b"\r\n\r\nworld")
    assert found is not None
    known, body = found
    assert (known.status, known.headers, body) == (200, HEADERS, b"world")
    assert known.answer == answer_head(HEADERS, status=200)
    assert known.lines == b"server: s\r\ncontent-length: 5\r\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HEAD + b"\r\n\r\nhell", id="a-body-cut-off"),
        pytest.param(ANSWER + b"HTTP/1.1 200 OK\r\n", id="more-than-one-answer"),
        pytest.param(HEAD.replace(b"Server: s", b"Server: t") + b"\r\n\r\nhello", id="another-header"),
        pytest.param(HEAD, id="no-end"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_anything_else_is_for_the_parser(data: bytes) -> None:
    assert knowing().find(data) is None


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        pytest.param(ANSWER, HEADERS[:2], id="no-length"),
        pytest.param(ANSWER, [(b"content-length", b"05")], id="a-length-in-another-form"),
        pytest.param(ANSWER, [*HEADERS, (b"content-length", b"5")], id="a-length-twice"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, HEADERS, id="early-hints"),
        pytest.param(HEAD + b"\r\n\r\n" + bytes(1 << 17), [(b"content-length", b"131072")], id="a-long-body"),
    ],
)
def test_what_does_not_end_where_its_length_says_is_not_learnt(data: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    heads = KnownHeads()
    heads.learn(data, 200, headers)
    assert heads.find(data) is None


def test_the_number_of_heads_is_bounded() -> None:
    heads = KnownHeads()
    for number in range(3 * MOST_HEADS):
        heads.learn(HEAD + b"\r\nx: %d\r\n\r\nhello" % number, 200, HEADERS)
    assert len(heads._heads) <= MOST_HEADS


def test_where_every_head_is_new_nothing_is_looked_up_for_a_while() -> None:
    heads = knowing()
    for number in range(LOOKS):
        assert heads.find(b"%d" % number) is None
    rested = 0
    while heads.find(ANSWER) is None:
        heads.learn(ANSWER, 200, HEADERS)
        rested += 1
    assert rested == LOOKS * REST


def test_answers_over_a_connection_are_the_same_known_or_not(stub_predictor: Callable[..., Any]) -> None:
    answers = [ANSWER, HEAD + b"\r\n\r\nworld", HEAD.replace(b"200 OK", b"404 No") + b"\r\n\r\nhello", ANSWER]

    async def script(asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[asked.number - 1])

    async def check() -> None:
        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            for number, answer in enumerate(answers):
                exchange = upstream.send(REQUEST, b"body")
                await exchange.started()
                body = await exchange.read()
                assert (exchange.status, exchange.headers) == (404 if number == 2 else 200, HEADERS)
                assert body == answer[-5:]
                assert (exchange.known is not None) == (number in (1, 3))
            head = upstream.send(b"HEAD / HTTP/1.1\r\nhost: p\r\n\r\n", b"", bodyless=True)
            answers.append(HEAD + b"\r\n\r\n")
            await head.started()
            assert head.known is None
            assert stub.connections == 1
            upstream.close()

    run(check())
