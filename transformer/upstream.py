"""
Requests as bytes turned into the predictor's answers as bytes: a pooled HTTP/1.1 client on httptools.

A request is written at the end of the event loop's turn in which `Upstream.send` is called, when a connection is idle;
otherwise on a new connection while there are fewer than `max_connections`; otherwise it waits its turn, first come
first served, and beyond `max_waiting` it is refused.

It is sent a second time, once, only when all of this holds: it was sent on a connection that had been idle; the
predictor closed that connection within STALE_S, which says that it was closing it already; not a single byte of an
answer came; and the request may be made twice without harm (RFC 9110, section 9.2.2).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from typing import Final, cast

import httptools

from transformer.exchange import Exchange, Headers, PredictorBroken, PredictorDown, PredictorSlow
from transformer.known_heads import KnownHead, KnownHeads
from transformer.writes import Writes

CONNECT_TIMEOUT_S: Final = 5.0
IDLE_S: Final = 30.0
"""Below the 65 s after which KServe's servers close idle connections, so that we are usually first."""
STALE_S: Final = 1.0
"""
The end of a connection that was being closed when the request was written arrives within a round trip. A predictor that
closes later has had the request: it may have died of it.
"""
HEAD_BYTES: Final = 1 << 20
"""Of an answer's status line and headers."""
PAUSE_BYTES: Final = 1 << 18
"""So much of an answer may wait for a slow client before we stop reading from the predictor."""
JOIN_BYTES: Final = 1 << 16
"""Head and body below this size are written as one buffer; above it, copying costs more than a second one."""

_log = logging.getLogger("transformer.upstream")


class Upstream:
    """The predictor at one address. Used from one event loop only."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout_s: float = 600.0,
        tls: ssl.SSLContext | None = None,
        max_connections: int = 512,
        max_waiting: int = 4096,
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._timeout_s = timeout_s
        self._max_connections, self._max_waiting = max_connections, max_waiting
        self._loop = asyncio.get_running_loop()
        self.writes, self.heads = Writes(), KnownHeads()
        self._open = 0
        self._idle: list[_Connection] = []
        self._waiting: deque[Exchange] = deque()
        self._active: set[Exchange] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._sweep_s = min(0.5, max(0.02, timeout_s / 20))
        self._sweeper = self._loop.call_later(self._sweep_s, self._sweep)

    def send(self, head: bytes, body: bytes, *, bodyless: bool = False, repeatable: bool = False) -> Exchange:
        """
        Sends the request. head: up to and with the empty line. bodyless: the answer has none whatever its headers say
        (HEAD). repeatable: it may be made twice without harm. Errors are raised by the exchange, never here.
        """
        deadline = self._loop.time() + self._timeout_s
        exchange = Exchange(self, (head, body), bodyless=bodyless, deadline=deadline, repeatable=repeatable)
        self._active.add(exchange)
        self._dispatch(exchange)
        return exchange

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    @property
    def buffered(self) -> int:
        """Bytes of answers that wait to be taken, of all exchanges together."""
        return sum(exchange.buffered for exchange in self._active)

    def close(self) -> None:
        """Gives up what is under way and closes every connection."""
        self._sweeper.cancel()
        for exchange in list(self._active):
            exchange.fail(PredictorDown("the transformer is stopping"))
        for task in self._connecting:
            task.cancel()
        for connection in self._idle:
            connection.drop()
        self._idle.clear()

    def _dispatch(self, exchange: Exchange) -> None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                connection.begin(exchange, reused=True)
                return
        if self._open < self._max_connections:
            self._connect(exchange)
        elif len(self._waiting) < self._max_waiting:
            self._waiting.append(exchange)
        else:
            exchange.fail(PredictorDown("too many requests are waiting for the predictor"))

    def _connect(self, exchange: Exchange) -> None:
        self._open += 1
        task = self._loop.create_task(self._open_connection(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open_connection(self, exchange: Exchange) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self), self._host, self._port, ssl=self._tls
                )
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be looked up
            self._open -= 1
            _log.debug("predictor_unreachable error=%s", error)
            exchange.fail(PredictorDown("the predictor cannot be reached"))
            self._serve_waiting()
            return
        if exchange.finished:
            self.release(connection, keep=True)
        else:
            connection.begin(exchange, reused=False)

    def _serve_waiting(self) -> None:
        while self._waiting:
            exchange = self._waiting.popleft()
            if not exchange.finished:
                self._dispatch(exchange)
                return

    def _sweep(self) -> None:
        """Deadlines in one timer instead of one a request: they are late by at most one sweep."""
        now = self._loop.time()
        for exchange in [exchange for exchange in self._active if exchange.deadline < now]:
            exchange.fail(PredictorSlow("the predictor did not answer in time"))
        if self._waiting:  # those that were given up make place for others
            self._waiting = deque(exchange for exchange in self._waiting if not exchange.finished)
        # Idle connections are taken from the end, so the longest unused stand first.
        while self._idle and self._idle[0].idle_since < now - IDLE_S:
            self._idle.pop(0).drop()
        self._sweeper = self._loop.call_later(self._sweep_s, self._sweep)

    # From connections:

    def now(self) -> float:
        return self._loop.time()

    def ended(self, exchange: Exchange) -> None:
        self._active.discard(exchange)

    def progressed(self, exchange: Exchange) -> None:
        exchange.deadline = self._loop.time() + self._timeout_s

    def release(self, connection: _Connection, *, keep: bool) -> None:
        if not keep or not connection.usable:
            connection.drop()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        self._serve_waiting()

    def lost(self, connection: _Connection) -> None:
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        self._serve_waiting()

    def resend(self, exchange: Exchange) -> None:
        """On a fresh connection: the other idle ones are as old as the one that was closed."""
        exchange.resent = True
        self._connect(exchange)


class _Connection(asyncio.Protocol):
    """One connection, carrying one exchange at a time."""

    def __init__(self, pool: Upstream) -> None:
        self._pool = pool
        self._exchange: Exchange | None = None
        self._reused = self._touched = self._paused = self._keep = False
        self._begun = 0.0
        self._head_bytes = 0
        self._headers: Headers = []
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        return not self._transport.is_closing()

    def begin(self, exchange: Exchange, *, reused: bool) -> None:
        self._exchange, self._reused, self._touched = exchange, reused, False
        self._begun, self._head_bytes = self._pool.now(), 0
        exchange.on_connection(self)
        head, body = exchange.request
        if len(body) < JOIN_BYTES:
            self._pool.writes.add(self._transport, head + body)
        else:
            self._transport.writelines((head, body))

    def drop(self) -> None:
        self._exchange = None
        self._transport.abort()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    # From the transport:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody asked
            self._transport.abort()
            return
        first = not self._touched and not exchange.bodyless
        self._touched = self._keep = True
        if first and (found := self._pool.heads.find(data)) is not None:
            self._take(exchange, *found)
            return
        if not exchange.status:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                exchange.fail(PredictorBroken("the predictor's answer has too long a head"))
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            _log.debug("predictor_broken error=%s", error)
            exchange.fail(PredictorBroken("the predictor's answer is not HTTP"))
            self._transport.abort()
            return
        if not exchange.finished:
            self._pool.progressed(exchange)
            exchange.on_pause()
        elif self._exchange is None:
            # Only here, when all that came has been parsed: what follows an answer belongs to no other exchange.
            if first and self._keep and exchange.complete:
                self._pool.heads.learn(data, exchange.status, exchange.headers)
            self._pool.release(self, keep=self._keep)

    def _take(self, exchange: Exchange, known: KnownHead, body: bytes) -> None:
        """A whole answer that the parser need not see: it stands where an answer begins, as it did before."""
        exchange.known = known
        exchange.on_head(known.status, known.headers)
        if body:
            exchange.on_body(body)
        self._finish(exchange, keep=self._is_written)
        self._pool.release(self, keep=self._keep)

    @property
    def _is_written(self) -> bool:
        """An answer that came before the request was written to its end leaves the connection in no known state."""
        return self._transport.get_write_buffer_size() == 0

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        self._pool.lost(self)
        if exchange is None or exchange.finished:
            return
        exchange.on_connection(None)
        if self._reused and not self._touched and not exchange.resent and exchange.repeatable and self._is_stale():
            self._pool.resend(exchange)
            return
        if not self._touched:
            exchange.fail(PredictorDown("the predictor closed the connection without an answer"))
        elif exc is None and exchange.status and _ends_with_connection(exchange.headers):
            exchange.on_complete()
        else:
            exchange.fail(PredictorBroken("the predictor's answer ended before it was whole"))

    def _is_stale(self) -> bool:
        return self._pool.now() - self._begun < STALE_S

    # From the parser:

    def on_message_begin(self) -> None:
        self._headers = []
        if self._exchange is None:  # a second answer to one request
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        exchange = self._exchange
        if exchange is None or status < 200:  # 100 Continue and 103 Early Hints precede the answer
            return
        if status > 599:
            exchange.fail(PredictorBroken("the predictor's answer has no valid status"))
            return
        # Trailers come through on_header too: they go to a list that nobody reads.
        headers, self._headers = self._headers, []
        exchange.on_head(status, headers)
        if exchange.bodyless:
            # The parser cannot be told that no body follows, so this connection ends here.
            self._finish(exchange, keep=False)

    def on_body(self, chunk: bytes) -> None:
        if self._exchange is not None and self._exchange.on_body(chunk) > PAUSE_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if exchange is None or not exchange.status:
            return
        self._finish(exchange, keep=self._is_written and self._parser.should_keep_alive())

    def _finish(self, exchange: Exchange, *, keep: bool) -> None:
        self._exchange, self._keep = None, keep
        exchange.on_complete()
        self.resume()


def _ends_with_connection(headers: Headers) -> bool:
    return not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers)
