"""What is left to score of answered requests: one slice in a turn of the event loop, first come first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from transformer.served import ServedRequest

BACKLOG_BYTES: Final = 16 << 20
"""Of request bodies that wait here; what would exceed it is not scored. It is half a second's work."""

CLOSE_S: Final = 2.0
"""For what waits when the process stops; the rest is not scored."""

Then = Callable[[ServedRequest], None]


class Backlog:
    """
    step: does one bounded piece of a request's work; its `remainder` is None when nothing is left. defer: has a
    function called in the next turn of the event loop. clock: seconds.
    """

    def __init__(
        self,
        step: Callable[[ServedRequest], None],
        defer: Callable[[Callable[[], None]], Any],
        clock: Callable[[], float],
    ) -> None:
        self._step, self._defer, self._clock = step, defer, clock
        self._waiting: deque[tuple[ServedRequest, int, Then]] = deque()
        self._bytes = 0

    def add(self, request: ServedRequest, then: Then) -> None:
        """then: called when nothing is left, at once where too much waits already."""
        size = len(request.body)
        if self._bytes + size > BACKLOG_BYTES:
            _skip(request)
            then(request)
            return
        if not self._waiting:
            self._defer(self._turn)
        if request.remainder is not None and request.remainder.content is not None:
            request.body = b""
        self._bytes += size
        self._waiting.append((request, size, then))

    def close(self) -> None:
        deadline = self._clock() + CLOSE_S
        while self._waiting:
            if self._clock() >= deadline:
                _skip(self._waiting[0][0])
            self._advance()

    def _turn(self) -> None:
        if self._waiting:
            self._advance()
        if self._waiting:
            self._defer(self._turn)

    def _advance(self) -> None:
        request, size, then = self._waiting[0]
        if request.remainder is not None:
            self._step(request)
        if request.remainder is None:
            self._waiting.popleft()
            self._bytes -= size
            then(request)


def _skip(request: ServedRequest) -> None:
    remainder, request.remainder = request.remainder, None
    if remainder is not None:
        request.issues["scoring_skipped"] = max(1, request.rows - remainder.start)
