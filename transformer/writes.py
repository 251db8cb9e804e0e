"""Writes to connections, put off to the end of the event loop's turn and made one right after the other."""

from __future__ import annotations

import asyncio


class Writes:
    """
    A write wakes the receiver when it sleeps, which costs more than the write itself; while it is awake, the next ones
    need not. So the requests and answers of one turn go out together. Used from one event loop only.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def add(self, transport: asyncio.Transport, data: bytes) -> None:
        """What is written to the same transport by others must not come before, nor its closing."""
        if not self._waiting:
            self._loop.call_soon(self._write)
        self._waiting.append((transport, data))

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)
