"""
The ASGI application: predict and infer requests to `Predictions`; health, readiness, metadata and metrics by the KServe
SDK's application; every other path forwarded as bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from transformer.answering import Receive, Send, refuse, send_stream, send_whole
from transformer.bodies import Bodies, Unread
from transformer.exchange import UpstreamError
from transformer.monitoring import Monitoring
from transformer.predictions import CLOSE, Predictions, target_of
from transformer.upstream import Upstream
from transformer.wire import Scope, answer_head, noted_headers, request_head
from transformer.wrapped import Wrapped

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_READ_METHODS: Final = ("GET", "HEAD")
_IDEMPOTENT_METHODS: Final = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")
"""RFC 9110, section 9.2.2."""

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
        self._predictions: Predictions | None = None
        self._short_ways: dict[bytes, tuple[str, Predictions]] = {}

    def short_way(self, target: bytes) -> tuple[str, Predictions] | None:
        """For POST requests to this path and query: the protocol, and what may answer them by callbacks alone."""
        return self._short_ways.get(target)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._open(await self._open_serving())
        except Exception as error:  # noqa: BLE001 - the server is told, and stops
            _log.exception("start_failed")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._serving.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _open(self, serving: Serving) -> None:
        self._serving = serving
        if serving.monitoring is None or serving.upstream is None:
            return
        predictions = Predictions(
            serving.monitoring, serving.upstream, self._bodies, host=self._host, wrapped=serving.wrapped
        )
        self._predictions = predictions
        if predictions.may_be_short:
            paths = {"v1": self._predict_path, "v2": self._infer_path}
            # Other names come encoded by percent signs, in more than one way.
            plain = {protocol: path for protocol, path in paths.items() if path == quote(path, safe="/:")}
            self._short_ways = {path.encode(): (protocol, predictions) for protocol, path in plain.items()}

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        protocol = self._protocol(scope)
        upstream = self._serving.upstream
        if protocol and self._predictions is not None:
            await self._predictions.serve(protocol, scope, receive, send)
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

    async def _forward(self, upstream: Upstream, scope: Scope, receive: Receive, send: Send) -> None:
        noted = noted_headers(scope["headers"])
        try:
            body, room = await self._bodies.read(noted, receive)
        except Unread as unread:
            await refuse(send, unread.status, unread.text, CLOSE)
            return
        protocol = self._protocol(scope)
        try:
            if self._serving.wrapped is not None and protocol:
                exchange = self._serving.wrapped.send(scope, body)
            else:
                repeatable = protocol is not None or scope["method"] in _IDEMPOTENT_METHODS
                method = scope["method"].encode()
                head = request_head(
                    method, target_of(scope), scope["headers"], noted, host=self._host, length=len(body)
                )
                exchange = upstream.send(head, body, bodyless=method == b"HEAD", repeatable=repeatable)
            await exchange.started()
            headers = answer_head(exchange.headers, status=exchange.status).headers
            if exchange.complete:
                await send_whole(send, exchange.status, headers, exchange.taken())
            else:
                await send_stream(receive, send, exchange, headers)
        except UpstreamError as error:
            await refuse(send, error.status, str(error))
        finally:
            if room:
                self._bodies.give_back(room)
