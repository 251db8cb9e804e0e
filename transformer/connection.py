"""
A client's connection: uvicorn's, with a short way for the common request.

A predict or infer request that came whole in one piece is answered by callbacks: from the client's connection to the
predictor's and back, without the task, the events and the messages that an ASGI application takes, which cost more
than forwarding and scoring together. Whatever turns out otherwise (a body in pieces, an answer that streams, an error)
is handed over to the application, where all of it is done by `Predictions.serve` and `Predictions.rest`.

Built on uvicorn.protocols.http.httptools_impl, whose version is pinned: it looks at the attributes of its cycles.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from transformer.answering import Receive, Send
from transformer.app import App
from transformer.bodies import FREE_BYTES
from transformer.predictions import Predictions, Underway
from transformer.wire import Headers, Scope, noted_headers

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_LENGTH_DIGITS: Final = len(str(FREE_BYTES))

_log = logging.getLogger("transformer.connection")


class ClientConnection(HttpToolsProtocol):  # type: ignore[misc]  # uvicorn's types are not followed
    """`cycle`: the request that came last; `pipeline`: those that wait for the ones before them."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        app = self.config.loaded_app
        self._routes = app if isinstance(app, App) else None  # at log level trace it is wrapped in another
        self._idle_since: float | None = None
        self.timeout_keep_alive_task: asyncio.TimerHandle | None = None

    # Parser callbacks

    def on_message_begin(self) -> None:
        # The scope is made when it is needed.
        self.url = b""
        self.expect_100_continue = False
        self.headers: Headers = []

    def on_headers_complete(self) -> None:
        short = self._short_way()
        if short is not None:
            self.cycle = short
            return
        self.scope = self.bare_scope(self.headers)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if type(self.cycle) is ShortWay:
            self.cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if type(self.cycle) is ShortWay:
            self.cycle.begin()
        else:
            super().on_message_complete()

    def _short_way(self) -> ShortWay | None:
        """For the request whose headers have come; None where it has to go the long way."""
        if self._routes is None or (self.cycle is not None and not self.cycle.response_complete):
            return None
        found = self._routes.short_way(self.url)
        if found is None or self.expect_100_continue:
            return None
        protocol, predictions = found
        noted = noted_headers(self.headers, predictions.asked)
        length = noted.get(b"content-length")
        if length is None or len(length) > _LENGTH_DIGITS or int(length) > FREE_BYTES:
            return None
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        if parser.should_upgrade() or not parser.should_keep_alive():
            return None
        return ShortWay(self, predictions, protocol, self.url, self.headers, noted)

    # From the transport

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        super().data_received(data)
        if type(self.cycle) is ShortWay and not self.cycle.begun:
            self.go_the_long_way(self.cycle, self.app)  # waits for the rest of the body, and not for ever

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    # Keep-alive: one timer that is set anew when it has run out, instead of one a request.

    def _unset_keepalive_if_required(self) -> None:
        pass

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:  # busy; its answer sets the timer again
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_again_in(left)
        else:
            super().timeout_keep_alive_handler()

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    # For the short way

    def bare_scope(self, headers: Headers) -> Any:
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": headers,
            "state": self.app_state.copy(),
        }

    def go_the_long_way(self, short: ShortWay, application: Application) -> None:
        """The request becomes one of uvicorn's, with as much of its body as has come and was not taken."""
        body_event = asyncio.Event()
        if short.body:
            body_event.set()
        cycle = RequestResponseCycle(
            scope={
                **self.bare_scope(short.headers),
                "method": "POST",
                "path": short.url.decode("ascii"),
                "raw_path": short.url,
                "query_string": b"",
            },
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=body_event,
            expect_100_continue=False,
            keep_alive=short.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body += short.body
        cycle.more_body = not short.begun
        cycle.disconnected = short.disconnected
        if self.cycle is short:
            self.cycle = cycle
        self._start_asgi_task(cycle, application)


class _Nobody:
    """Nobody waits for this event."""

    def set(self) -> None:
        pass


class ShortWay:
    """
    One request on the short way. `response_complete`, `disconnected`, `keep_alive`, `message_event` and `body` are what
    uvicorn's connection looks at in its own cycles.
    """

    __slots__ = (
        "_connection",
        "_predictions",
        "_protocol",
        "_underway",
        "body",
        "disconnected",
        "headers",
        "keep_alive",
        "noted",
        "response_complete",
        "url",
    )
    message_event = _Nobody()

    def __init__(
        self,
        connection: ClientConnection,
        predictions: Predictions,
        protocol: str,
        url: bytes,
        headers: Headers,
        noted: dict[bytes, bytes],
    ) -> None:
        self._connection, self._predictions, self._protocol = connection, predictions, protocol
        self.url, self.headers, self.noted, self.body = url, headers, noted, b""
        self._underway: Underway | None = None
        self.response_complete = self.disconnected = False
        self.keep_alive = True

    @property
    def begun(self) -> bool:
        """The whole request is here."""
        return self._underway is not None

    def begin(self) -> None:
        """To be called when the body is whole."""
        try:
            underway = self._predictions.begin(self._protocol, self.url, self.headers, self.noted, self.body)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
            return
        self._underway, self.body = underway, b""
        underway.exchange.watch(self._answered)

    def _answered(self) -> None:
        assert self._underway is not None
        self._predictions.when_scored(self._underway, self._settled)

    def _settled(self) -> None:
        underway, connection = self._underway, self._connection
        assert underway is not None
        if not underway.exchange.complete or connection.flow.write_paused:
            self._go_the_long_way(underway)
            return
        try:
            answer = self._predictions.whole(underway, keep_alive=self.keep_alive)
        except Exception as error:  # noqa: BLE001
            self._predictions.failed(underway.request)
            self._fail(error)
            return
        if answer is None:
            self._go_the_long_way(underway)
            return
        self.response_complete = True
        if self.keep_alive:
            self._predictions.writes.add(connection.transport, answer)
        elif not connection.transport.is_closing():
            connection.transport.write(answer)
            connection.transport.close()
        connection.on_response_complete()
        try:
            self._predictions.ended(underway)
        except Exception:  # noqa: BLE001 - we are called from the predictor's connection, which is well
            _log.exception("record_failed id=%s", underway.request.id)
            self._predictions.failed(underway.request)

    def _go_the_long_way(self, underway: Underway) -> None:
        async def rest(_scope: Scope, receive: Receive, send: Send) -> None:
            await self._predictions.rest(underway, receive, send)

        self._connection.go_the_long_way(self, rest)

    def _fail(self, error: Exception) -> None:
        async def raised(_scope: Scope, _receive: Receive, _send: Send) -> None:
            raise error

        self._connection.go_the_long_way(self, raised)
