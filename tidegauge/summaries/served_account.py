"""
What share of the served requests a window's records are.

A heartbeat on the second T says how many requests of its incarnation arrived before T. So between the heartbeats that
stand on a window's two ends exactly their difference was served, and what was not seen of it is lost or late. Where one
end has no heartbeat, as after a kill, the share is unknown: it is never claimed to be whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegauge.records import Heartbeat
from tidegauge.summaries.window_rows import WindowRows
from tidegauge.windows import Window


@dataclass(frozen=True, slots=True)
class Incarnation:
    """
    One incarnation of one worker in one window. records: seen. first, last: (time_ms, seq) of its earliest and latest
    heartbeat between the window's ends, ends included; None without any. ended: one of them was its final one.
    """

    records: int = 0
    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None
    ended: bool = False

    def merge(self, other: Incarnation) -> Incarnation:
        firsts = [bound for bound in (self.first, other.first) if bound is not None]
        lasts = [bound for bound in (self.last, other.last) if bound is not None]
        return Incarnation(
            records=self.records + other.records,
            first=min(firsts, default=None),
            last=max(lasts, default=None),
            ended=self.ended or other.ended,
        )

    def served(self, window: Window) -> int | None:
        """Requests that arrived in the window; None where an end of it is not accounted for."""
        if self.first is None or self.last is None:
            return None
        begun = self.first[0] == window.start_ms or self.first[1] == 0
        closed = self.last[0] == window.end_ms or self.ended
        return self.last[1] - self.first[1] if begun and closed else None


@dataclass(frozen=True, slots=True)
class Completeness:
    """
    seen: records. served: requests that arrived, None where that is unknown. share: seen / served; 1.0 when nothing
    was served and nothing seen, None when something was seen all the same.
    """

    seen: int
    served: int | None

    @property
    def share(self) -> float | None:
        if self.served is None:
            return None
        if self.served == 0:
            return None if self.seen else 1.0
        return self.seen / self.served


@dataclass(frozen=True)
class ServedAccount:
    """incarnations: by "replica/incarnation". Merging is exact, commutative and associative."""

    incarnations: Mapping[str, Incarnation] = field(default_factory=dict)

    @classmethod
    def of(cls, data: WindowRows) -> ServedAccount:
        records: dict[str, int] = {}
        for record in data.records:
            key = f"{record.replica}/{record.incarnation}"
            records[key] = records.get(key, 0) + 1
        account = cls({key: Incarnation(records=count) for key, count in records.items()})
        return account.merge(cls(_bounds(data.heartbeats)))

    def merge(self, other: ServedAccount) -> ServedAccount:
        merged = dict(self.incarnations)
        for key, incarnation in other.incarnations.items():
            known = merged.get(key)
            merged[key] = incarnation if known is None else known.merge(incarnation)
        return ServedAccount(merged)

    def completeness(self, window: Window) -> Completeness:
        seen = sum(incarnation.records for incarnation in self.incarnations.values())
        served = [incarnation.served(window) for incarnation in self.incarnations.values()]
        known = [count for count in served if count is not None]
        return Completeness(seen, sum(known) if len(known) == len(served) and served else None)

    def to_state(self) -> dict[str, Any]:
        return {key: [i.records, i.first, i.last, i.ended] for key, i in self.incarnations.items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ServedAccount:
        return cls(
            {
                key: Incarnation(records, tuple(first) if first else None, tuple(last) if last else None, ended)
                for key, (records, first, last, ended) in state.items()
            }
        )


def _bounds(heartbeats: Iterable[Heartbeat]) -> dict[str, Incarnation]:
    found: dict[str, Incarnation] = {}
    for heartbeat in heartbeats:
        key = f"{heartbeat.replica}/{heartbeat.incarnation}"
        bound = (heartbeat.time_ms, heartbeat.seq)
        one = Incarnation(first=bound, last=bound, ended=heartbeat.final)
        found[key] = one.merge(found[key]) if key in found else one
    return found
