"""
Predict and infer requests: forwarded as bytes, scored while the predictor works, answered, and recorded.

`serve` does all of it for any request. `begin`, `whole` and `ended` do it in three synchronous steps for one that is
short and whose answer comes whole; where that turns out otherwise, `rest` goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from transformer.answering import (
    Receive,
    Send,
    is_rejected,
    own_headers,
    own_lines,
    refuse,
    send_stream,
    send_whole,
    withheld,
)
from transformer.bodies import Bodies, Unread
from transformer.exchange import Exchange, UpstreamError
from transformer.monitoring import Monitoring
from transformer.served import ServedRequest
from transformer.upstream import Upstream
from transformer.wire import (
    Headers,
    Scope,
    answer_bytes,
    answer_head,
    header_lines,
    noted_headers,
    rejection,
    request_head,
)
from transformer.wrapped import Wrapped

CLOSE: Final = [(b"connection", b"close")]
"""Where the client may be sending still what nobody reads."""


@dataclass(slots=True)
class Underway:
    """A request that went to the predictor. sent: perf_counter seconds. then: called when it is answered and scored."""

    request: ServedRequest
    exchange: Exchange
    sent: float
    then: Callable[[ServedRequest], None]


class Predictions:
    """
    host: the Host header for the predictor. wrapped: a user's own transformer, between us and the predictor. asked:
    names of further headers that have to be noted, in lower case.
    """

    def __init__(
        self, monitoring: Monitoring, upstream: Upstream, bodies: Bodies, *, host: bytes, wrapped: Wrapped | None
    ) -> None:
        self._monitoring, self._upstream, self._bodies = monitoring, upstream, bodies
        self._host, self._wrapped = host, wrapped
        self._recorder, self._scorer = monitoring.recorder, monitoring.scorer
        self.writes = upstream.writes
        self.asked = monitoring.recorder.captured.noted

    @property
    def may_be_short(self) -> bool:
        """Whether `begin` may be used: with a transformer of the user's, or where outliers are rejected, it may not."""
        return self._wrapped is None and self._monitoring.policy != "reject"

    def begin(self, protocol: str, target: bytes, headers: Headers, noted: dict[bytes, bytes], body: bytes) -> Underway:
        """headers: names in lower case; noted: of these."""
        request = self._recorder.arrived(protocol, body, noted)
        try:
            head = request_head(b"POST", target, headers, noted, host=self._host, length=len(body))
            exchange = self._upstream.send(head, body, repeatable=True)
            self._scorer.submit(request)
        except Exception:
            self.failed(request)
            raise
        return Underway(request, exchange, request.started, self._recorder.answered)

    def when_scored(self, underway: Underway, then: Callable[[], None]) -> None:
        """then: called at once, or a turn of the event loop later. It raises nothing."""
        self._scorer.when_scored(underway.request, then)

    def whole(self, underway: Underway, *, keep_alive: bool) -> bytes | None:
        """The answer for the client, where the predictor's is complete; None where it does not say how long it is."""
        request, exchange = underway.request, underway.exchange
        request.upstream_s = time.perf_counter() - underway.sent
        request.status = status = exchange.status
        known = exchange.known
        head = answer_head(exchange.headers, status=status) if known is None else known.answer
        if not head.sized:
            return None
        request.answer_encoded, request.answer_binary = head.encoded, head.binary
        lines = header_lines(head.headers) if known is None else known.lines
        lines += own_lines(request, self._monitoring, named=head.names_request)
        request.answer = exchange.taken()
        if not keep_alive:
            lines += b"connection: close\r\n"
        answer = answer_bytes(status, lines, request.answer)
        request.latency_s = time.perf_counter() - request.started
        return answer

    def ended(self, underway: Underway) -> None:
        """To be called once the answer has been written."""
        self._scorer.finish(underway.request, underway.then)

    def failed(self, request: ServedRequest) -> None:
        """By a fault of ours."""
        self._recorder.abandoned(request, "internal_error")

    async def rest(self, underway: Underway, receive: Receive, send: Send) -> None:
        try:
            await self._answer(underway, receive, send)
        except asyncio.CancelledError:
            self._recorder.abandoned(underway.request, "cancelled")
            raise
        except Exception:
            self.failed(underway.request)
            raise
        self.ended(underway)

    async def serve(self, protocol: str, scope: Scope, receive: Receive, send: Send) -> None:
        noted = noted_headers(scope["headers"], self.asked)
        try:
            body, room = await self._bodies.read(noted, receive)
        except Unread as unread:
            self._monitoring.metrics.count_answer(protocol, unread.status)
            await refuse(send, unread.status, unread.text, CLOSE)
            return
        try:
            if self._wrapped is None:
                underway = self.begin(protocol, target_of(scope), scope["headers"], noted, body)
            else:
                underway = self._begin_wrapped(self._wrapped, protocol, scope, noted, body)
            await self.rest(underway, receive, send)
        finally:
            if room:
                self._bodies.give_back(room)

    def _begin_wrapped(
        self, wrapped: Wrapped, protocol: str, scope: Scope, noted: dict[bytes, bytes], body: bytes
    ) -> Underway:
        request = self._recorder.arrived(protocol, body, noted)
        try:
            exchange, call = wrapped.send_scored(scope, request, self._scorer)
        except Exception:
            self.failed(request)
            raise
        return Underway(request, exchange, request.started, wrapped.noting(call, self._recorder.answered))

    async def _answer(self, underway: Underway, receive: Receive, send: Send) -> None:
        request, exchange, monitoring = underway.request, underway.exchange, self._monitoring
        failure = None
        try:
            await exchange.started()
        except UpstreamError as error:
            failure = error
        if is_rejected(request, monitoring):
            await self._reject(underway, send)
        elif failure is not None:
            request.upstream_s = time.perf_counter() - underway.sent
            request.status = failure.status
            await refuse(send, failure.status, str(failure), own_headers(request, monitoring, named=False))
            request.latency_s = time.perf_counter() - request.started
        else:
            await self._pass_on(underway, receive, send)
            request.latency_s = time.perf_counter() - request.started

    async def _reject(self, underway: Underway, send: Send) -> None:
        request, exchange = underway.request, underway.exchange
        request.upstream_s = time.perf_counter() - underway.sent
        request.status, request.rejected = 422, True
        await refuse(send, 422, rejection(request), own_headers(request, self._monitoring, named=False))
        request.latency_s = time.perf_counter() - request.started
        head = answer_head(exchange.headers, status=exchange.status)
        request.answer_encoded, request.answer_binary = head.encoded, head.binary
        request.answer = await withheld(exchange)

    async def _pass_on(self, underway: Underway, receive: Receive, send: Send) -> None:
        request, exchange = underway.request, underway.exchange
        request.status = exchange.status
        head = answer_head(exchange.headers, status=exchange.status)
        request.answer_encoded, request.answer_binary = head.encoded, head.binary
        headers = head.headers + own_headers(request, self._monitoring, named=head.names_request)
        if exchange.complete:
            request.upstream_s = time.perf_counter() - underway.sent
            request.answer = exchange.taken()
            await send_whole(send, exchange.status, headers, request.answer)
        else:
            request.answer, request.answer_cut = await send_stream(receive, send, exchange, headers)
            request.upstream_s = time.perf_counter() - underway.sent


def target_of(scope: Scope) -> bytes:
    """Path and query, as they came."""
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return path + b"?" + query if query else path
