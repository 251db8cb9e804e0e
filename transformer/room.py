"""Memory for the bodies of long requests: a bounded number of bytes, given out in turn."""

from __future__ import annotations

import asyncio
from collections import deque


class NoRoom(Exception):
    """The text is fit for a client."""

    def __init__(self) -> None:
        super().__init__("too many long requests at once")


class Room:
    """
    limit_bytes: held at any time, all together; a single body that is longer gets in when nothing else is held.
    wait_s: how long one may wait.

    Whoever holds bytes gives all of them back at the end. Further bytes for a body of unknown length go before those
    for new bodies, first come first served on both sides. Where only bodies are left that all wait for more, the last
    of them is refused, which frees what it holds. Used from one event loop only.
    """

    def __init__(self, limit_bytes: int, *, wait_s: float) -> None:
        self._limit, self._wait_s = limit_bytes, wait_s
        self._holders = 0
        self._growing: deque[_Waiting] = deque()
        self._new: deque[_Waiting] = deque()
        self.held = self.peak = 0

    def try_take(self, size: int) -> bool:
        """The first bytes of a holder, where there is no need to wait."""
        if self._growing or self._new or not self._fits(size):
            return False
        self._count(size, 1)
        return True

    async def take(self, size: int) -> None:
        """The first bytes of a holder. Raises NoRoom."""
        if not self.try_take(size):
            await self._wait(self._new, _Waiting(size, 1))

    async def grow(self, size: int) -> None:
        """Further bytes of a holder. Raises NoRoom; what was held before is held still."""
        if not self._growing and self._fits(size):
            self._count(size, 0)
        else:
            await self._wait(self._growing, _Waiting(size, 0))

    def give_back(self, size: int) -> None:
        """All that one holder has."""
        self._count(-size, -1)
        self._settle()

    def _fits(self, size: int) -> bool:
        return self.held == 0 or self.held + size <= self._limit

    def _count(self, size: int, holders: int) -> None:
        self.held += size
        self._holders += holders
        self.peak = max(self.peak, self.held)

    async def _wait(self, queue: deque[_Waiting], waiting: _Waiting) -> None:
        queue.append(waiting)
        self._settle()
        try:
            async with asyncio.timeout(self._wait_s):
                await waiting.granted
        except BaseException as error:
            if waiting in queue:
                queue.remove(waiting)
            elif waiting.is_granted:  # too late
                self._count(-waiting.size, -waiting.holders)
            self._settle()
            if isinstance(error, TimeoutError):
                raise NoRoom from None
            raise

    def _settle(self) -> None:
        while self._growing and self._fits(self._growing[0].size):
            self._grant(self._growing.popleft())
        if self._growing and len(self._growing) >= self._holders:
            self._growing.pop().refuse()  # it gives back what it holds, which brings us here again
        while not self._growing and self._new and self._fits(self._new[0].size):
            self._grant(self._new.popleft())

    def _grant(self, waiting: _Waiting) -> None:
        if not waiting.granted.done():  # else its task was cancelled this very moment
            waiting.granted.set_result(None)
            self._count(waiting.size, waiting.holders)


class _Waiting:
    """holders: 1 for a new one."""

    def __init__(self, size: int, holders: int) -> None:
        self.size, self.holders = size, holders
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_granted(self) -> bool:
        return self.granted.done() and not self.granted.cancelled() and self.granted.exception() is None

    def refuse(self) -> None:
        if not self.granted.done():
            self.granted.set_exception(NoRoom())
