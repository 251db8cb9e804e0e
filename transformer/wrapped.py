"""
A user's own transformer in the predictor's place: requests run through the KServe SDK's application and its answers
taken as exchanges, so that all that follows is the same as with a predictor.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import Context
from typing import Any

from transformer.exchange import Exchange, PredictorBroken, PredictorDown
from transformer.predictor_calls import CALL, Call
from transformer.scoring import BatchScorer
from transformer.served import ServedRequest
from transformer.upstream import PAUSE_BYTES

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_log = logging.getLogger("transformer.wrapped")


class Wrapped:
    """
    application: the SDK's. context: one in which the SDK knows its predictor. score: one of command_line.SCORES.
    protocol: v1 or v2, spoken to the predictor. stop: the user's own, called at the end.
    """

    def __init__(
        self, application: Application, context: Context, *, score: str, protocol: str, stop: Callable[[], object]
    ) -> None:
        self._application, self._context, self._stop = application, context, stop
        self._preprocessed, self._protocol = score == "preprocessed", protocol
        self._running: set[asyncio.Task[None]] = set()

    def send(self, scope: MutableMapping[str, Any], body: bytes) -> Exchange:
        """Of a request that is not monitored."""
        return self._start(scope, body, Call(scope["headers"], lambda _body, _binary: None))

    def send_scored(
        self, scope: MutableMapping[str, Any], request: ServedRequest, scorer: BatchScorer
    ) -> tuple[Exchange, Call]:
        """The request is given to the scorer, at once or when it is known what goes to the predictor."""
        if not self._preprocessed:
            call = Call(scope["headers"], lambda _body, _binary: None)
            exchange = self._start(scope, request.body, call)
            scorer.submit(request)
            return exchange, call

        def on_sent(body: bytes, binary: bytes | None) -> None:
            request.body, request.binary, request.encoded = body, binary, False
            request.read_as = self._protocol
            scorer.submit(request)

        call = Call(scope["headers"], on_sent)
        return self._start(scope, request.body, call), call

    def noting(self, call: Call, then: Callable[[ServedRequest], None]) -> Callable[[ServedRequest], None]:
        """then, after the request has been told what the record is to say of the predictor."""

        def noted(request: ServedRequest) -> None:
            self._note(call, request)
            then(request)

        return noted

    def _note(self, call: Call, request: ServedRequest) -> None:
        request.upstream_s = call.upstream_s
        if not self._preprocessed:
            return
        if call.answered:
            request.answer, request.answer_binary = call.answer, call.answer_binary
            request.answer_encoded = False
        if call.sent == 0:
            request.issues = {**request.issues, "not_sent_to_predictor": 1}
        elif call.sent > 1:
            request.issues = {**request.issues, "further_calls_not_scored": call.sent - 1}

    def close(self) -> None:
        for task in self._running:
            task.cancel()
        try:
            self._stop()
        except Exception:  # noqa: BLE001 - records are still to be delivered
            _log.exception("stop_failed")

    def ended(self, exchange: Exchange) -> None:
        pass

    def _start(self, scope: MutableMapping[str, Any], body: bytes, call: Call) -> Exchange:
        loop = asyncio.get_running_loop()
        # How long the predictor may take is the SDK's business, and how long the user's own code may, the user's.
        exchange = Exchange(self, (b"", body), bodyless=False, deadline=float("inf"))
        context = self._context.copy()
        context.run(CALL.set, call)
        run = _Run(exchange, body)
        task = loop.create_task(run.through(self._application, {**scope}), context=context)
        run.task = task
        exchange.on_connection(run)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return exchange


class _Run:
    """One request on its way through the application; for its exchange, the connection."""

    def __init__(self, exchange: Exchange, body: bytes) -> None:
        self._exchange, self._body = exchange, body
        self._asked = False
        self._resumed = asyncio.Event()
        self.task: asyncio.Task[None]

    async def through(self, application: Application, scope: MutableMapping[str, Any]) -> None:
        try:
            await application(scope, self._receive, self._send)
        except asyncio.CancelledError:
            self._exchange.fail(PredictorDown("the transformer is stopping"))
            raise
        except Exception:  # noqa: BLE001 - the SDK answers 500 and raises all the same, for its server's log
            _log.debug("wrapped_failed", exc_info=True)
        if not self._exchange.finished:
            self._exchange.fail(PredictorBroken("the transformer's own code ended without a whole answer"))

    def drop(self) -> None:
        self._resumed.set()
        if self.task is not asyncio.current_task():
            self.task.cancel()

    def resume(self) -> None:
        self._resumed.set()

    async def _receive(self) -> Message:
        if self._asked:
            await asyncio.Event().wait()  # the client's leaving cancels this task
        self._asked = True
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: Message) -> None:
        exchange = self._exchange
        if exchange.finished:
            return
        if message["type"] == "http.response.start":
            exchange.on_head(message["status"], [(bytes(k), bytes(v)) for k, v in message.get("headers", ())])
            return
        self._resumed.clear()
        chunk = message.get("body", b"")
        waiting = exchange.on_body(chunk) if chunk else 0
        if not message.get("more_body", False):
            exchange.on_complete()
        elif waiting > PAUSE_BYTES:
            await self._resumed.wait()
