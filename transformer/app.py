"""
The ASGI application: predict and infer requests forwarded as bytes, scored meanwhile and recorded afterwards; health,
readiness, metadata and metrics by the KServe SDK's application; every other path forwarded as bytes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from transformer.answering import (
    Receive,
    Send,
    is_rejected,
    note_form,
    own_headers,
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
from transformer.wire import Scope, answer_headers, noted_headers, rejection, request_head
from transformer.wrapped import Wrapped

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_READ_METHODS: Final = ("GET", "HEAD")
_IDEMPOTENT_METHODS: Final = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")
"""RFC 9110, section 9.2.2."""
_CLOSE: Final = [(b"connection", b"close")]
"""Where the client may be sending still what nobody reads."""

_log = logging.getLogger("transformer.app")


@dataclass(frozen=True)
class Serving:
    """
    What exists while the process serves, bound to its event loop. upstream: None where the predictor speaks gRPC alone.
    monitoring: None when the monitor is suspended.
    """

    upstream: Upstream | None
    monitoring: Monitoring | None
    close: Callable[[], Awaitable[None]]
    wrapped: Wrapped | None = None
    """A user's own transformer, between us and the predictor."""


class App:
    def __init__(
        self,
        *,
        model: str,
        host: str,
        bodies: Bodies,
        sdk: Application,
        open_serving: Callable[[], Awaitable[Serving]],
    ) -> None:
        """
        model: the name in the paths that are monitored. host: the Host header for the predictor. sdk: answers what is
        asked about the server and the model. open_serving: called once, when the event loop runs.
        """
        self._host, self._bodies = host.encode(), bodies
        self._sdk, self._open_serving = sdk, open_serving
        self._predict_path, self._infer_path = f"/v1/models/{model}:predict", f"/v2/models/{model}/infer"
        self._versions = f"/v2/models/{model}/versions/"
        self._sdk_paths = frozenset(
            (
                "/",
                "/metrics",
                "/v1/models",
                f"/v1/models/{model}",
                "/v2",
                "/v2/health/live",
                "/v2/health/ready",
                "/v2/models",
                f"/v2/models/{model}",
                f"/v2/models/{model}/ready",
            )
        )
        self._serving: Serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._serving = await self._open_serving()
        except Exception as error:  # noqa: BLE001 - the server is told, and stops
            _log.exception("start_failed")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._serving.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        protocol = self._protocol(scope)
        monitoring, upstream = self._serving.monitoring, self._serving.upstream
        if protocol and monitoring is not None and upstream is not None:
            await self._predict(protocol, monitoring, upstream, scope, receive, send)
        elif self._is_for_sdk(scope):
            await self._sdk(scope, receive, send)
        elif upstream is not None:
            await self._forward(upstream, scope, receive, send)
        else:
            await refuse(send, 501, "the predictor speaks gRPC only: call the gRPC port")

    def _protocol(self, scope: Scope) -> str | None:
        """v1 or v2 for the requests that are monitored."""
        path = scope["path"]
        if scope["method"] != "POST":
            return None
        if path == self._predict_path:
            return "v1"
        if path == self._infer_path:
            return "v2"
        if path.startswith(self._versions) and path.endswith("/infer"):
            return "v2" if path.count("/") == self._versions.count("/") + 1 else None
        return None

    def _is_for_sdk(self, scope: Scope) -> bool:
        path: str = scope["path"]
        if scope["method"] not in _READ_METHODS:
            return False
        return path in self._sdk_paths or (path.startswith(self._versions) and not path.endswith("/infer"))

    async def _predict(
        self,
        protocol: str,
        monitoring: Monitoring,
        upstream: Upstream,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        noted = noted_headers(scope)
        try:
            body, room = await self._bodies.read(noted, receive)
        except Unread as unread:
            monitoring.metrics.count_answer(protocol, unread.status)
            await refuse(send, unread.status, unread.text, _CLOSE)
            return
        request = monitoring.recorder.arrived(protocol, body, noted)
        wrapped, call = self._serving.wrapped, None
        try:
            if wrapped is not None:
                exchange, call = wrapped.send_scored(scope, request, monitoring.scorer)
            else:
                exchange = self._sent(upstream, scope, noted, body, repeatable=True)
                monitoring.scorer.submit(request)
            await self._answer(request, exchange, monitoring, receive, send)
        except asyncio.CancelledError:
            monitoring.recorder.abandoned(request, "cancelled")
            raise
        except Exception:
            monitoring.recorder.abandoned(request, "internal_error")
            raise
        finally:
            if room:
                self._bodies.give_back(room)
        if wrapped is not None and call is not None:
            monitoring.scorer.finish(request, wrapped.noting(call, monitoring.recorder.answered))
        else:
            monitoring.scorer.finish(request, monitoring.recorder.answered)

    async def _answer(
        self, request: ServedRequest, exchange: Exchange, monitoring: Monitoring, receive: Receive, send: Send
    ) -> None:
        sent = time.perf_counter()
        failure = None
        try:
            await exchange.started()
        except UpstreamError as error:
            failure = error
        if is_rejected(request, monitoring):
            request.upstream_s = time.perf_counter() - sent
            request.status, request.rejected = 422, True
            await refuse(send, 422, rejection(request), own_headers(request, monitoring, ()))
            request.latency_s = time.perf_counter() - request.started
            note_form(request, exchange.headers)
            request.answer = await withheld(exchange)
            return
        if failure is not None:
            request.upstream_s = time.perf_counter() - sent
            request.status = failure.status
            await refuse(send, failure.status, str(failure), own_headers(request, monitoring, ()))
        else:
            request.status = exchange.status
            headers = answer_headers(exchange.headers, status=exchange.status)
            note_form(request, headers)
            own = own_headers(request, monitoring, headers)
            if exchange.complete:
                request.upstream_s = time.perf_counter() - sent
                request.answer = exchange.taken()
                await send_whole(send, exchange.status, headers + own, request.answer)
            else:
                request.answer, request.answer_cut = await send_stream(receive, send, exchange, headers + own)
                request.upstream_s = time.perf_counter() - sent
        request.latency_s = time.perf_counter() - request.started

    async def _forward(self, upstream: Upstream, scope: Scope, receive: Receive, send: Send) -> None:
        noted = noted_headers(scope)
        try:
            body, room = await self._bodies.read(noted, receive)
        except Unread as unread:
            await refuse(send, unread.status, unread.text, _CLOSE)
            return
        protocol = self._protocol(scope)
        try:
            if self._serving.wrapped is not None and protocol:
                exchange = self._serving.wrapped.send(scope, body)
            else:
                repeatable = protocol is not None or scope["method"] in _IDEMPOTENT_METHODS
                exchange = self._sent(upstream, scope, noted, body, repeatable=repeatable)
            await exchange.started()
            headers = answer_headers(exchange.headers, status=exchange.status)
            if exchange.complete:
                await send_whole(send, exchange.status, headers, exchange.taken())
            else:
                await send_stream(receive, send, exchange, headers)
        except UpstreamError as error:
            await refuse(send, error.status, str(error))
        finally:
            if room:
                self._bodies.give_back(room)

    def _sent(
        self, upstream: Upstream, scope: Scope, noted: dict[bytes, bytes], body: bytes, *, repeatable: bool
    ) -> Exchange:
        head = request_head(scope, noted, host=self._host, length=len(body))
        return upstream.send(head, body, bodyless=scope["method"] == "HEAD", repeatable=repeatable)
