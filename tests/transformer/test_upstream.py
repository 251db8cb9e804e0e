from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from transformer.exchange import Exchange, PredictorBroken, PredictorDown, PredictorSlow, UpstreamError
from transformer.upstream import PAUSE_BYTES, Upstream

HEAD = b"POST /v1/models/sums:predict HTTP/1.1\r\nhost: p\r\ncontent-length: 4\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 5\r\n\r\nhello"

StubPredictor = Callable[..., Any]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def saying(*answers: bytes) -> Any:
    """Answers in turn, the last for ever; b"" ends a connection."""
    left = list(answers)

    async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if not answer:
            writer.close()
        writer.write(answer)

    return script


async def whole(exchange: Exchange) -> tuple[int, bytes]:
    await exchange.started()
    body = b""
    while chunk := await exchange.read():
        body += chunk
    return exchange.status, body


def test_status_headers_and_body_come_back_as_they_are(stub_predictor: StubPredictor) -> None:
    answer = b"HTTP/1.1 418 Teapot\r\nX-One: 1\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 2\r\n\r\nhi"

    async def check() -> None:
        async with stub_predictor(saying(answer)) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            exchange = upstream.send(HEAD, b"body")
            assert await whole(exchange) == (418, b"hi")
            assert exchange.headers == [
                (b"X-One", b"1"),
                (b"Set-Cookie", b"a"),
                (b"set-cookie", b"b"),
                (b"Content-Length", b"2"),
            ]
            assert (stub.asked[0].head, stub.asked[0].body) == (HEAD, b"body")
            upstream.close()

    run(check())


def test_requests_one_after_the_other_share_a_connection(stub_predictor: StubPredictor) -> None:
    async def check() -> None:
        async with stub_predictor(saying(OK)) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            for _ in range(3):
                assert await whole(upstream.send(HEAD, b"body")) == (200, b"hello")
            assert stub.connections == 1
            upstream.close()

    run(check())


def test_requests_beyond_the_bound_wait_their_turn(stub_predictor: StubPredictor) -> None:
    async def check() -> None:
        release = asyncio.Event()

        async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(OK)

        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port, max_connections=2, max_waiting=3)
            exchanges = [upstream.send(HEAD, b"body") for _ in range(6)]
            with pytest.raises(PredictorDown, match="too many requests"):
                await exchanges[5].started()
            release.set()
            assert [await whole(exchange) for exchange in exchanges[:5]] == [(200, b"hello")] * 5
            assert stub.connections == 2
            upstream.close()

    run(check())


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, b"hello"),
    ],
    ids=["chunked with trailers", "no content", "empty", "informational answers first"],
)
def test_framings_that_leave_the_connection_usable(stub_predictor: StubPredictor, answer: bytes, body: bytes) -> None:
    async def check() -> None:
        async with stub_predictor(saying(answer)) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            for _ in range(2):
                exchange = upstream.send(HEAD, b"body")
                assert (await whole(exchange))[1] == body
                assert (b"x-t", b"1") not in exchange.headers and (b"link", b"x") not in exchange.headers
            assert stub.connections == 1
            upstream.close()

    run(check())


def test_a_body_without_length_ends_with_the_connection(stub_predictor: StubPredictor) -> None:
    async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
        writer.close()

    async def check() -> None:
        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            assert await whole(upstream.send(HEAD, b"body")) == (200, b"until the end")
            upstream.close()

    run(check())


def test_the_answer_to_head_has_no_body_whatever_its_length_says(stub_predictor: StubPredictor) -> None:
    async def check() -> None:
        async with stub_predictor(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n")) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            head = b"HEAD / HTTP/1.1\r\nhost: p\r\n\r\n"
            for _ in range(2):
                assert await whole(upstream.send(head, b"", bodyless=True)) == (200, b"")
            upstream.close()

    run(check())


def test_pieces_are_there_as_they_come(stub_predictor: StubPredictor) -> None:
    async def check() -> None:
        more = asyncio.Event()

        async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await more.wait()
            writer.write(b"3\r\ndef\r\n0\r\n\r\n")

        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            exchange = upstream.send(HEAD, b"body")
            await exchange.started()
            assert await exchange.read() == b"abc"
            assert not exchange.complete
            more.set()
            assert await exchange.read() == b"def"
            assert await exchange.read() == b""
            upstream.close()

    run(check())


def test_a_large_answer_to_a_slow_reader_does_not_pile_up(stub_predictor: StubPredictor) -> None:
    size = 24 << 20

    async def check() -> None:
        sent = 0

        async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            for _ in range(size >> 16):
                writer.write(bytes(1 << 16))
                await writer.drain()
                sent += 1 << 16

        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            exchange = upstream.send(HEAD, b"body")
            await exchange.started()
            before = -1
            while before != sent:  # until the predictor cannot write on
                before = sent
                await asyncio.sleep(0.1)
            assert sent < size // 2
            received = 0
            while chunk := await exchange.read():
                received += len(chunk)
            assert received == size
            upstream.close()

    run(check())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", PredictorDown),
        (b"HTTP/1.1 200 OK\r\ncontent-le", PredictorBroken),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", PredictorBroken),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf", PredictorBroken),
        (b"SSH-2.0-OpenSSH_9.2\r\n", PredictorBroken),
        (b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n", PredictorBroken),
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk", "not HTTP", "no valid status"],
)
def test_answers_that_are_cut_short_or_no_answers(
    stub_predictor: StubPredictor, answer: bytes, error: type[UpstreamError]
) -> None:
    async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async def check() -> None:
        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            with pytest.raises(error):
                await whole(upstream.send(HEAD, b"body"))
            assert len(stub.asked) == 1
            upstream.close()

    run(check())


def test_a_predictor_that_is_down_is_said_to_be_down(free_port: Callable[[], int]) -> None:
    async def check() -> None:
        upstream = Upstream("127.0.0.1", free_port())
        with pytest.raises(PredictorDown, match="cannot be reached"):
            await upstream.send(HEAD, b"body").started()
        upstream.close()

    run(check())


def test_a_predictor_that_does_not_answer_in_time_is_slow(stub_predictor: StubPredictor) -> None:
    async def check() -> None:
        never = asyncio.Event()

        async def script(_asked: Any, _writer: asyncio.StreamWriter) -> None:
            await never.wait()

        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port, timeout_s=0.1)
            with pytest.raises(PredictorSlow):
                await upstream.send(HEAD, b"body").started()
            never.set()
            upstream.close()

    run(check())


def test_a_request_is_sent_again_when_a_pooled_connection_turns_out_to_be_closed(
    stub_predictor: StubPredictor,
) -> None:
    async def script(asked: Any, writer: asyncio.StreamWriter) -> None:
        if asked.number == 2:  # reads the second request of a connection and closes it, as after an idle timeout
            writer.close()
        else:
            writer.write(OK)

    async def check() -> None:
        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            for _ in range(2):
                assert await whole(upstream.send(HEAD, b"body", repeatable=True)) == (200, b"hello")
            assert [(asked.connection, asked.number) for asked in stub.asked] == [(1, 1), (1, 2), (2, 1)]
            upstream.close()

    run(check())


def test_a_request_is_sent_again_only_once(stub_predictor: StubPredictor) -> None:
    async def script(asked: Any, writer: asyncio.StreamWriter) -> None:
        if len(stub_asked) == 0:
            writer.write(OK)
        else:
            writer.close()
        stub_asked.append(asked)

    stub_asked: list[Any] = []

    async def check() -> None:
        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            assert await whole(upstream.send(HEAD, b"body")) == (200, b"hello")
            with pytest.raises(PredictorDown):
                await upstream.send(HEAD, b"body", repeatable=True).started()
            assert len(stub.asked) == 3
            upstream.close()

    run(check())


def test_a_request_is_not_sent_again_once_a_byte_of_its_answer_came(stub_predictor: StubPredictor) -> None:
    async def script(asked: Any, writer: asyncio.StreamWriter) -> None:
        if asked.number == 1:
            writer.write(OK)
        else:
            writer.write(b"H")
            writer.close()

    async def check() -> None:
        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            assert await whole(upstream.send(HEAD, b"body")) == (200, b"hello")
            with pytest.raises(PredictorBroken):
                await upstream.send(HEAD, b"body", repeatable=True).started()
            assert len(stub.asked) == 2
            upstream.close()

    run(check())


@pytest.mark.parametrize("repeatable", [True, False], ids=["after it had time to act", "what may do harm twice"])
def test_a_request_that_may_have_been_acted_on_is_not_sent_again(
    stub_predictor: StubPredictor, monkeypatch: pytest.MonkeyPatch, repeatable: bool
) -> None:
    async def script(asked: Any, writer: asyncio.StreamWriter) -> None:
        if asked.number == 1:
            writer.write(OK)
        else:
            await asyncio.sleep(0.05 if repeatable else 0)
            writer.close()

    monkeypatch.setattr("transformer.upstream.STALE_S", 0.02 if repeatable else 20)

    async def check() -> None:
        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            assert await whole(upstream.send(HEAD, b"body")) == (200, b"hello")
            with pytest.raises(PredictorDown, match="without an answer"):
                await upstream.send(HEAD, b"body", repeatable=repeatable).started()
            assert len(stub.asked) == 2
            upstream.close()

    run(check())


def test_a_connection_that_was_closed_while_idle_is_not_used_again(stub_predictor: StubPredictor) -> None:
    async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()

    async def check() -> None:
        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            for number in range(1, 4):
                assert await whole(upstream.send(HEAD, b"body")) == (200, b"hello")
                while upstream.idle:
                    await asyncio.sleep(0.001)
                assert len(stub.asked) == number
            upstream.close()

    run(check())


def test_many_large_answers_to_slow_readers_hold_no_more_than_their_share(stub_predictor: StubPredictor) -> None:
    size, clients = 4 << 20, 12

    async def check() -> None:
        written = 0

        async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            for _ in range(size >> 16):
                writer.write(bytes(1 << 16))
                await writer.drain()
                written += 1 << 16

        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            exchanges = [upstream.send(HEAD, b"body") for _ in range(clients)]
            for exchange in exchanges:
                await exchange.started()
            before = -1
            while before != written:  # until the predictor cannot write on
                before = written
                await asyncio.sleep(0.1)
            # What was read in one go when the bound was passed comes on top.
            assert clients << 16 < upstream.buffered <= clients * (PAUSE_BYTES + (1 << 18))
            assert [len((await whole(exchange))[1]) for exchange in exchanges] == [size] * clients
            assert upstream.buffered == 0
            upstream.close()

    run(check())


def test_a_head_without_end_is_broken_off(stub_predictor: StubPredictor) -> None:
    async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x-more: " + b"y" * 60_000 + b"\r\n")
            await writer.drain()

    async def check() -> None:
        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port)
            with pytest.raises(PredictorBroken, match="too long a head"):
                await upstream.send(HEAD, b"body").started()
            upstream.close()

    run(check())


def test_requests_that_were_given_up_make_place_in_the_queue(stub_predictor: StubPredictor) -> None:
    async def check() -> None:
        release = asyncio.Event()

        async def script(_asked: Any, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(OK)

        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port, max_connections=1, max_waiting=2, timeout_s=0.4)
            first, *waiting = [upstream.send(HEAD, b"body") for _ in range(3)]
            for exchange in waiting:
                exchange.abort()
            further = upstream.send(HEAD, b"body")
            while further.finished and not release.is_set():  # refused: the place is made at the next sweep
                await asyncio.sleep(0.005)
                further = upstream.send(HEAD, b"body")
            release.set()
            assert await whole(first) == await whole(further) == (200, b"hello")
            assert len(stub.asked) == 2, "what was given up was not sent"
            upstream.close()

    run(check())


def test_what_follows_an_answer_is_not_taken_for_the_next_one(stub_predictor: StubPredictor) -> None:
    async def check() -> None:
        async with stub_predictor(saying(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", OK)) as stub:
            upstream = Upstream("127.0.0.1", stub.port, max_connections=1)
            exchanges = [upstream.send(HEAD, b"body") for _ in range(2)]
            assert [await whole(exchange) for exchange in exchanges] == [(200, b"hello")] * 2
            assert stub.connections == 2
            upstream.close()

    run(check())


def test_giving_a_request_up_frees_its_place(stub_predictor: StubPredictor) -> None:
    async def check() -> None:
        never = asyncio.Event()

        async def script(asked: Any, writer: asyncio.StreamWriter) -> None:
            if asked.connection == 1:
                await never.wait()
            writer.write(OK)

        async with stub_predictor(script) as stub:
            upstream = Upstream("127.0.0.1", stub.port, max_connections=1)
            waiting = asyncio.ensure_future(upstream.send(HEAD, b"body").started())
            while not stub.asked:
                await asyncio.sleep(0)
            waiting.cancel()
            assert await whole(upstream.send(HEAD, b"body")) == (200, b"hello")
            never.set()
            upstream.close()

    run(check())
