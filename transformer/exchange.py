"""
One request to the predictor and its answer, as it comes.

    UpstreamError
    +-- PredictorDown     503: no connection, or it ended before an answer began
    +-- PredictorSlow     504: no answer, or no further piece of it, within the time limit
    +-- PredictorBroken   502: what came is not HTTP, or ended before it was whole
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from transformer.known_heads import KnownHead

Headers = list[tuple[bytes, bytes]]


class UpstreamError(Exception):
    """`status` is the answer a client gets; the text is fit for a client: it names no address."""

    status = 502


class PredictorDown(UpstreamError):
    status = 503


class PredictorSlow(UpstreamError):
    status = 504


class PredictorBroken(UpstreamError):
    status = 502


class Pool(Protocol):
    def ended(self, exchange: Exchange) -> None: ...


class Connection(Protocol):
    def drop(self) -> None: ...
    def resume(self) -> None: ...


class Exchange:
    """
    One request and its answer. `status` and `headers` hold once `started()` has returned; hop-by-hop headers are
    among them. `complete`: the whole body is here. `known`: their head, where it was known before.
    """

    __slots__ = (
        "_chunks",
        "_connection",
        "_error",
        "_pool",
        "_size",
        "_waiter",
        "_watcher",
        "bodyless",
        "complete",
        "deadline",
        "headers",
        "known",
        "repeatable",
        "request",
        "resent",
        "status",
    )

    def __init__(
        self,
        pool: Pool,
        request: tuple[bytes, bytes],
        *,
        bodyless: bool,
        deadline: float,
        repeatable: bool = False,
    ) -> None:
        """repeatable: the request may be made twice without harm."""
        self._pool = pool
        self.request, self.bodyless, self.deadline, self.repeatable = request, bodyless, deadline, repeatable
        self.status = 0
        self.headers: Headers = []
        self.known: KnownHead | None = None
        self.complete = self.resent = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._watcher: Callable[[], None] | None = None
        self._connection: Connection | None = None

    @property
    def buffered(self) -> int:
        """Bytes of the body that wait to be taken."""
        return self._size

    @property
    def finished(self) -> bool:
        """Nothing more will come."""
        return self.complete or self._error is not None

    def watch(self, settled: Callable[[], None]) -> None:
        """
        settled: called once, when the whole answer has come, or when it failed, or when some of it has come and the
        rest is to be waited for; at once where that is so already. It raises nothing.
        """
        if self.finished or self.status:
            settled()
        else:
            self._watcher = settled

    async def started(self) -> None:
        """Returns when status and headers are there. Raises UpstreamError."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes:
        """The next piece of the body; b"" at its end. Raises UpstreamError where the answer is cut short."""
        while not self._chunks:
            if self.complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait()
        return self.taken()

    def taken(self) -> bytes:
        """What has come of the body and was not taken before."""
        chunks, self._chunks, self._size = self._chunks, [], 0
        if self._connection is not None:
            self._connection.resume()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def abort(self) -> None:
        """Gives the request up; its connection is closed."""
        self.fail(PredictorDown("the request was given up"))

    def fail(self, error: UpstreamError) -> None:
        if self.finished:
            return
        self._error = error
        self._pool.ended(self)
        if self._connection is not None:
            self._connection.drop()
        self._wake()
        self._settle()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._waiter = None

    def _settle(self) -> None:
        settled, self._watcher = self._watcher, None
        if settled is not None:
            settled()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # From the connection:

    def on_connection(self, connection: Connection | None) -> None:
        self._connection = connection

    def on_head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self._wake()

    def on_body(self, chunk: bytes) -> int:
        """Returns how many bytes wait to be taken."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._wake()
        return self._size

    def on_complete(self) -> None:
        self.complete = True
        self._connection = None
        self._pool.ended(self)
        self._wake()
        self._settle()

    def on_pause(self) -> None:
        """What came together has been taken in, and more is to come."""
        if self.status:
            self._settle()
