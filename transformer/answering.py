"""What is said to clients: the score's headers, the predictor's answer as it comes or whole, and answers of our own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from transformer.exchange import Exchange, UpstreamError
from transformer.monitoring import Monitoring
from transformer.parse import ANSWER_BYTES
from transformer.served import ServedRequest
from transformer.wire import Headers, outlier_headers, outlier_lines

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("transformer.answering")


def own_headers(request: ServedRequest, monitoring: Monitoring, *, named: bool) -> Headers:
    """What is added to an answer. Scores the request if that is still to be done. named: it has an x-request-id."""
    own: Headers = []
    if monitoring.policy != "shadow":
        monitoring.scorer.settle(request)
        own = outlier_headers(request, baseline=monitoring.baseline)
    if not named:
        own.append((b"x-request-id", request.id.encode("latin-1")))
    return own


def own_lines(request: ServedRequest, monitoring: Monitoring, *, named: bool) -> bytes:
    """`own_headers` as they go over the wire."""
    own = b""
    if monitoring.policy != "shadow":
        monitoring.scorer.settle(request)
        own = outlier_lines(request, baseline=monitoring.baseline)
    return own if named else own + b"x-request-id: %b\r\n" % request.id.encode("latin-1")


def is_rejected(request: ServedRequest, monitoring: Monitoring) -> bool:
    """By the monitor's policy, for an outlier among the rows scored in time: the others have the benefit of doubt."""
    if monitoring.policy != "reject":
        return False
    monitoring.scorer.settle(request)
    return request.scored is not None and True in request.scored.outlier


async def withheld(exchange: Exchange) -> bytes | None:
    """What the predictor answered, up to where records may read it; so its connection can be used again."""
    kept: list[bytes] = []
    size = 0
    try:
        await exchange.started()
        while chunk := await exchange.read():
            kept.append(chunk)
            size += len(chunk)
            if size > ANSWER_BYTES:
                exchange.abort()
                return None
    except UpstreamError:
        return None
    return b"".join(kept)


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_stream(receive: Receive, send: Send, exchange: Exchange, headers: Headers) -> tuple[bytes | None, bool]:
    """
    Sends pieces as they come. Returns the body, None where it is longer than a record may read, and whether it was cut
    short: by the predictor, in which case the client's connection is closed early too, or by the client.
    """
    gone = asyncio.ensure_future(receive())
    kept: list[bytes] = []
    size = 0
    try:
        await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
        while chunk := await exchange.read():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            size += len(chunk)
            if size <= ANSWER_BYTES:
                kept.append(chunk)
            if gone.done():
                exchange.abort()
        await send({"type": "http.response.body", "body": b""})
    except UpstreamError as error:
        _log.debug("answer_cut_short why=%s", error)
    finally:
        gone.cancel()
    return (b"".join(kept) if size <= ANSWER_BYTES else None), not exchange.complete


async def refuse(send: Send, status: int, text: str, headers: Headers | tuple[()] = ()) -> None:
    """Both protocols have the same form of error."""
    body = orjson.dumps({"error": text})
    length = str(len(body)).encode()
    await send_whole(
        send, status, [(b"content-type", b"application/json"), (b"content-length", length), *headers], body
    )
