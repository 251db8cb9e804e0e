"""
What was served and what became of its records: sequence numbers, the account, and heartbeats on whole seconds.

Pure: the clock's readings come in as arguments, and nothing here knows of Kafka, HTTP or threads.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from tidegauge.records import Account, whole_second

DROP_REASONS: Final = (
    "queue_full",  # the queue to Kafka is at its bound
    "record_too_large",
    "not_encodable",  # the record could not be written as JSON
    "timed_out",  # Kafka did not acknowledge it in time
    "rejected",  # Kafka refused it
    "producer_failed",  # the producer can send nothing any more
    "cancelled",  # the request was cut off before its answer
    "internal_error",  # a fault of ours
    "stopped",  # still under way when the process had to end
    "spool_full",  # the spool is at its bound, or the disk is full or too slow
    "spool_failed",  # the spool's file cannot be written or read
    "request_not_seen",  # the collector saw a response event alone
    "event_full",  # the collector had no room for the request's event
    "event_too_large",  # the request's event was longer than the collector takes
)
"""Why a record may be dropped, for metric labels and accounts."""

SKIPPED_HEARTBEATS: Final = 60
"""After a stall of the process only so many of the boundaries it missed are still told."""

_SECOND_MS: Final = 1000


class Clock(Protocol):
    """UTC epoch milliseconds that never go back."""

    def now_ms(self) -> int: ...


class EventClock:
    """
    UTC epoch milliseconds that never go back. While the wall clock is behind what was already told, time passes at
    half speed, so that events keep their order and the clocks meet again.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        self._told_ns, self._read_ns = wall_ns(), monotonic_ns()

    def now_ms(self) -> int:
        wall, read = self._wall_ns(), self._monotonic_ns()
        if wall < self._told_ns:
            wall = self._told_ns + (read - self._read_ns) // 2
        self._told_ns, self._read_ns = wall, read
        return wall // 1_000_000


@dataclass(frozen=True, slots=True)
class Boundary:
    """seq: how many requests arrived before time_ms, a whole second."""

    time_ms: int
    seq: int


class Ledger:
    """
    One incarnation's requests. Each gets the next number on arrival and ends once, as acknowledged, as left out by
    sampling, or as dropped for a reason; until then it is in flight, or on disk. So the account balances at every
    instant.

    Times must not go back. Boundaries that have come due wait in `take_due`; each is exact, whether it was an arrival
    or a tick that passed it first.
    """

    def __init__(self, start_ms: int) -> None:
        first = whole_second(start_ms)
        self.seq = 0
        self._next_ms = first + _SECOND_MS
        self._due = [Boundary(first, 0)]
        self._acknowledged = self._in_flight = self._sampled_out = self._spooled = 0
        self._dropped: Counter[str] = Counter()

    def arrive(self, now_ms: int) -> int:
        """The request's number, from 1."""
        if now_ms >= self._next_ms:
            self.tick(now_ms)
        self.seq += 1
        self._in_flight += 1
        return self.seq

    def tick(self, now_ms: int) -> None:
        last_ms = whole_second(now_ms)
        if last_ms < self._next_ms:
            return
        first_ms = max(self._next_ms, last_ms - (SKIPPED_HEARTBEATS - 1) * _SECOND_MS)
        self._due.extend(Boundary(time_ms, self.seq) for time_ms in range(first_ms, last_ms + 1, _SECOND_MS))
        self._next_ms = last_ms + _SECOND_MS

    def take_due(self) -> list[Boundary]:
        due, self._due = self._due, []
        return due

    def acknowledge(self) -> None:
        self._in_flight -= 1
        self._acknowledged += 1

    def drop(self, reason: str, number: int = 1) -> None:
        """reason: one of DROP_REASONS."""
        if number:
            self._in_flight -= number
            self._dropped[reason] += number

    def spool(self, number: int = 1) -> None:
        """So many went to disk."""
        self._in_flight -= number
        self._spooled += number

    def unspool(self, number: int = 1) -> None:
        """So many are on their way again, read from disk."""
        self._spooled -= number
        self._in_flight += number

    def lose_spool(self) -> None:
        """What was on disk cannot be read any more."""
        self._dropped["spool_failed"] += self._spooled
        self._spooled = 0

    def leave_out(self) -> None:
        """By sampling: the request has no record."""
        self._in_flight -= 1
        self._sampled_out += 1

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def account(self) -> Account:
        return Account(
            served=self.seq,
            acknowledged=self._acknowledged,
            dropped=dict(self._dropped),
            sampled_out=self._sampled_out,
            in_flight=self._in_flight,
            spooled=self._spooled,
        )
