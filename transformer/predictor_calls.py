"""
What a wrapped transformer asks of the predictor: an httpx transport beneath the KServe SDK's own client.

It passes on the headers that the SDK drops, and notes what went to the predictor, what came back, and how long it took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import httpx

from transformer.parse import ANSWER_BYTES

PREDICTOR: Final = "tidegauge.predictor"
"""In the extensions of a request to the predictor, so that its errors are told from those of other services."""

_OWN: Final = frozenset(
    (
        b"accept-encoding",  # the SDK reads the answer
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"inference-header-content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""About a hop, or about the body, which is another one now."""

_LIMITS: Final = httpx.Limits(max_connections=512, max_keepalive_connections=512, keepalive_expiry=30)


@dataclass(slots=True)
class Call:
    """
    One request to the wrapped transformer. headers: as it came, names in lower case. on_sent: called with the body and
    its header inference-header-content-length when the first request goes to the predictor. answer: what came back to
    that one, None where it was too long to keep or none came.
    """

    headers: Iterable[tuple[bytes, bytes]]
    on_sent: Callable[[bytes, bytes | None], None]
    sent: int = 0
    upstream_s: float = 0.0
    answered: bool = False
    answer: bytes | None = None
    answer_binary: bytes | None = None


CALL: Final[ContextVar[Call | None]] = ContextVar("transformer_call", default=None)


class PredictorTransport(httpx.AsyncBaseTransport):
    def __init__(self, verify: str | bool) -> None:
        self._inner = httpx.AsyncHTTPTransport(verify=verify, limits=_LIMITS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, PREDICTOR: True}
        call = CALL.get()
        if call is None or request.method != "POST":  # a health check
            return await self._inner.handle_async_request(request)
        _pass_on(call.headers, request)
        call.sent += 1
        first = call.sent == 1
        if first:
            binary = request.headers.get("inference-header-content-length")
            call.on_sent(request.content, binary.encode() if binary else None)
        started = time.perf_counter()
        try:
            response = await self._inner.handle_async_request(request)
            body = await response.aread()
        finally:
            call.upstream_s += time.perf_counter() - started
        if first:
            _note_answer(call, response, body)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


def _pass_on(headers: Iterable[tuple[bytes, bytes]], request: httpx.Request) -> None:
    """What the SDK or the user's own code has set stays."""
    there = {name.lower() for name, _ in request.headers.raw} - {b"accept", b"user-agent"}
    passed = [(name, value) for name, value in headers if name not in _OWN and name not in there]
    named = {name for name, _ in passed}
    kept = [(name, value) for name, value in request.headers.raw if name.lower() not in named]
    request.headers = httpx.Headers(kept + passed)


def _note_answer(call: Call, response: httpx.Response, body: bytes) -> None:
    call.answered = True
    call.answer = body if len(body) <= ANSWER_BYTES else None
    binary = response.headers.get("inference-header-content-length")
    call.answer_binary = binary.encode() if binary else None
