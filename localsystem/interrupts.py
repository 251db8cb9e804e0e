"""
Ctrl-C, SIGTERM and SIGHUP as one exception in the main thread, and never in the middle of what must be whole.

Starting a child and noting it is one act, and so is stopping the children: an exception between the two halves would
leave a process that nobody knows of.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt, so that asyncio lets it through and no `except Exception` swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """Handles SIGNALS while entered (main thread only); the previous handlers come back at exit."""

    def __init__(self) -> None:
        self._holds = 0
        self._pending: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def held(self) -> Iterator[None]:
        """A signal that comes meanwhile is raised at the end of the outermost `held`."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        self._raise_pending()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._holds:
            self._pending = number
            return
        raise Interrupted(number)

    def _raise_pending(self) -> None:
        if self._holds or self._pending is None:
            return
        number, self._pending = self._pending, None
        raise Interrupted(number)
