"""
Requests and responses joined by id, in bounded time and memory. Pure: times come in as arguments.

A request is *released* in the order of event times, some time after its own, so that what is slow to come still finds
its place; it is *concluded* when its response is there, or when `wait_ms` have passed since the request came. A
response whose request does not come within that time is *lost*: something was served of which there can be no record.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Final

from transformer.collector.events import Event
from transformer.served import ServedRequest

ENTRY_BYTES: Final = 2048
"""What an entry costs beside its bodies."""

REMEMBERED: Final = 100_000
"""Ids of concluded requests, by which events that come twice or too late are known; 20 MB."""

_REQUEST, _RESPONSE, _PASSED_OVER = 1, 2, 4


class Taken(Enum):
    YES = "taken"
    DUPLICATE = "duplicate"  # this half was there already
    LATE = "late"  # the request was concluded without it
    EMPTY = "empty"  # no predict request: KServe's agent also logs what has no body, as GET /v1/models/M
    FULL = "full"


@dataclass(slots=True, eq=False)
class Pair:
    """served: set by whoever numbers it when it is released. refused: why its request was not taken."""

    id: str
    deadline_ms: int
    request: Event | None = None
    response: Event | None = None
    time_ms: int = 0
    arrived_ms: int = 0
    answered_ms: int = 0
    refused: str | None = None
    served: ServedRequest | None = None
    concluded: bool = False

    def has(self, half: Event) -> bool:
        return (self.request if half.is_request else self.response) is not None

    @property
    def size(self) -> int:
        halves = (self.request, self.response)
        return ENTRY_BYTES + sum([len(half.body) for half in halves if half is not None])


class Pairs:
    """responses: whether they come at all; else a request is concluded when it is released."""

    def __init__(self, *, wait_ms: int, max_pairs: int, max_bytes: int, responses: bool = True) -> None:
        self._wait_ms = wait_ms
        self._max_pairs, self._max_bytes = max_pairs, max_bytes
        self.responses = responses
        self.bytes = 0
        self._pairs: dict[str, Pair] = {}
        self._by_time: list[tuple[int, int, Pair]] = []
        self._by_deadline: deque[tuple[int, Pair]] = deque()
        self._order = count()
        self._remembered: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def has_room(self, size: int) -> bool:
        return len(self._pairs) < self._max_pairs and self.bytes + size + ENTRY_BYTES <= self._max_bytes

    def awaits_response(self, identity: str) -> bool:
        """Its response is taken even when there is no room: it will make some."""
        pair = self._pairs.get(identity)
        return pair is not None and pair.request is not None and pair.response is None

    def take(self, event: Event, *, time_ms: int, now_ms: int) -> tuple[Taken, Pair | None]:
        """time_ms: the request's event time. The pair comes with it where it can be concluded now."""
        pair = self._pairs.get(event.id)
        turned_away = self._turned_away(event, pair)
        if turned_away is not None:
            return turned_away, None
        if pair is None:
            pair = self._add(event.id, now_ms)
        self.bytes += len(event.body)
        if event.is_request:
            pair.request, pair.time_ms, pair.arrived_ms, pair.refused = event, time_ms, now_ms, None
            heapq.heappush(self._by_time, (time_ms, next(self._order), pair))
            self._expect_by(pair, now_ms + self._wait_ms)
            return Taken.YES, None
        pair.response, pair.answered_ms = event, now_ms
        return Taken.YES, pair if pair.served is not None else None

    def _turned_away(self, event: Event, pair: Pair | None) -> Taken | None:
        ended = self._remembered.get(event.id)
        if ended == _PASSED_OVER:
            return Taken.EMPTY
        if ended is not None:
            return Taken.DUPLICATE if ended & _half(event) else Taken.LATE
        if pair is not None and pair.has(event):
            return Taken.DUPLICATE
        if event.is_request and not event.body:
            self._pass_over(event.id)
            return Taken.EMPTY
        if self.has_room(len(event.body)) or (not event.is_request and self.awaits_response(event.id)):
            return None
        return Taken.FULL

    def refuse(self, identity: str, reason: str, *, now_ms: int) -> bool:
        """
        A request that was not taken: it is lost for this reason, unless it is sent again in time. False where it is
        lost at once, since there is no room to remember it.
        """
        if identity in self._remembered:
            return True
        if pair := self._pairs.get(identity):
            if pair.request is None:
                pair.refused = reason
            return True
        if len(self._pairs) >= self._max_pairs:
            self._remember(identity, _REQUEST)
            return False
        self._add(identity, now_ms).refused = reason
        return True

    def released(self, until_ms: int) -> Iterator[Pair]:
        """Requests with event times up to until_ms, in their order. Each is to be numbered at once."""
        while self._by_time and self._by_time[0][0] <= until_ms:
            yield heapq.heappop(self._by_time)[2]

    def expired(self, now_ms: int | None) -> Iterator[Pair]:
        """
        Pairs whose time is over, all with None: those with a request are to be concluded, the others are lost. To be
        called after `released`.
        """
        while self._by_deadline and (now_ms is None or self._by_deadline[0][0] <= now_ms):
            deadline_ms, pair = self._by_deadline.popleft()
            unreleased = pair.request is not None and pair.served is None
            if not pair.concluded and deadline_ms == pair.deadline_ms and not unreleased:
                yield pair

    def conclude(self, pair: Pair) -> None:
        """Forgets all but its id."""
        pair.concluded = True
        del self._pairs[pair.id]
        self.bytes -= pair.size
        halves = (_REQUEST if pair.request else 0) | (_RESPONSE if pair.response else 0)
        self._remember(pair.id, halves)

    def _add(self, identity: str, now_ms: int) -> Pair:
        pair = self._pairs[identity] = Pair(identity, 0)
        self.bytes += ENTRY_BYTES
        self._expect_by(pair, now_ms + self._wait_ms)
        return pair

    def _expect_by(self, pair: Pair, deadline_ms: int) -> None:
        if pair.deadline_ms != deadline_ms:
            pair.deadline_ms = deadline_ms
            self._by_deadline.append((deadline_ms, pair))

    def _pass_over(self, identity: str) -> None:
        pair = self._pairs.get(identity)
        if pair is not None:
            self.conclude(pair)
        self._remember(identity, _PASSED_OVER)

    def _remember(self, identity: str, halves: int) -> None:
        self._remembered[identity] = halves
        if len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]


def _half(event: Event) -> int:
    return _REQUEST if event.is_request else _RESPONSE
