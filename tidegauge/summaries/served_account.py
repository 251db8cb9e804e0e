"""
What share of the served requests a window's records are.

A heartbeat on the second T says how many requests of its incarnation arrived before T. So between the heartbeats that
stand on a window's two ends exactly their difference was served, and what was not seen of it is lost or late. Where one
end has no heartbeat, as after a kill, the share is unknown: it is never claimed to be whole. Records are told by their
numbers, so one that comes twice is seen once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tidegauge.records import Heartbeat
from tidegauge.summaries.seen_numbers import SeenNumbers
from tidegauge.summaries.window_rows import WindowRows
from tidegauge.windows import Window


class Bound(NamedTuple):
    """One heartbeat. seq: requests that had arrived; sampled_out: ever, spooled: now, both as of its sending."""

    time_ms: int
    seq: int
    sampled_out: int = 0
    spooled: int = 0


@dataclass(frozen=True, slots=True)
class Incarnation:
    """
    One incarnation of one worker in one window. records: all that came, repetitions included. numbers: theirs, of
    `unnumbered` ones unknown (an older program's). first, last: its earliest and latest heartbeat between the window's
    ends, ends included; None without any. ended: one of them was its final one.
    """

    records: int = 0
    first: Bound | None = None
    last: Bound | None = None
    ended: bool = False
    numbers: SeenNumbers = field(default_factory=SeenNumbers)
    unnumbered: int = 0

    def merge(self, other: Incarnation) -> Incarnation:
        firsts = [bound for bound in (self.first, other.first) if bound is not None]
        lasts = [bound for bound in (self.last, other.last) if bound is not None]
        return Incarnation(
            records=self.records + other.records,
            first=min(firsts, default=None),
            last=max(lasts, default=None),
            ended=self.ended or other.ended,
            numbers=self.numbers.merge(other.numbers),
            unnumbered=self.unnumbered + other.unnumbered,
        )

    @property
    def seen(self) -> int:
        """Different records."""
        return self.numbers.count + self.unnumbered

    def served(self, window: Window) -> int | None:
        """Requests that arrived in the window; None where an end of it is not accounted for."""
        if self.first is None or self.last is None or self.numbers.overflowed:
            return None
        begun = self.first.time_ms == window.start_ms or self.first.seq == 0
        closed = self.last.time_ms == window.end_ms or self.ended
        return self.last.seq - self.first.seq if begun and closed else None

    def sampled_out(self) -> int:
        return max(self.last.sampled_out - self.first.sampled_out, 0) if self.first and self.last else 0


@dataclass(frozen=True, slots=True)
class Completeness:
    """
    seen: different records. served: requests that arrived, None where that is unknown. sampled_out: those of them that
    the monitor wishes no record of; the weights of others speak for them, so they count as seen. spooled: records that
    workers kept back when they last spoke; they come later. duplicates: records that came again. unaccounted: worker
    incarnations that may have served more than anybody knows.
    """

    seen: int
    served: int | None
    sampled_out: int = 0
    spooled: int = 0
    duplicates: int = 0
    unaccounted: int = 0

    @property
    def share(self) -> float | None:
        """(seen + sampled_out) / served; 1.0 when nothing was served and nothing seen, None when it is unknown."""
        if self.served is None:
            return None
        if self.served == 0:
            return None if self.seen else 1.0
        if not self.sampled_out:
            return self.seen / self.served
        # Heartbeats tell a little more than what was sampled out before their second.
        return max(self.seen, min(self.seen + self.sampled_out, self.served)) / self.served


@dataclass(frozen=True)
class ServedAccount:
    """incarnations: by "replica/incarnation". Merging is exact, commutative and associative."""

    incarnations: Mapping[str, Incarnation] = field(default_factory=dict)

    @classmethod
    def of(cls, data: WindowRows) -> ServedAccount:
        numbers: dict[str, list[int]] = {}
        for (replica, incarnation), seqs in data.records.seqs.items():
            numbers.setdefault(f"{replica}/{incarnation}", []).extend(seqs)
        account = cls(
            {key: Incarnation(records=len(seqs), numbers=SeenNumbers.of(seqs)) for key, seqs in numbers.items()}
        )
        return account.merge(cls(_bounds(data.heartbeats)))

    def merge(self, other: ServedAccount) -> ServedAccount:
        merged = dict(self.incarnations)
        for key, incarnation in other.incarnations.items():
            known = merged.get(key)
            merged[key] = incarnation if known is None else known.merge(incarnation)
        return ServedAccount(merged)

    def repeats(self, other: ServedAccount) -> bool:
        """Whether the other has records, and all of them are known here by their numbers."""
        given = {key: incarnation for key, incarnation in other.incarnations.items() if incarnation.records}
        return bool(given) and all(
            not incarnation.unnumbered
            and key in self.incarnations
            and self.incarnations[key].numbers.covers(incarnation.numbers)
            for key, incarnation in given.items()
        )

    def with_unknown(self, keys: Iterable[str]) -> ServedAccount:
        """These workers may have served something in the window, but nothing of it is known."""
        return self.merge(ServedAccount(dict.fromkeys(keys, Incarnation())))

    def with_duplicates(self, records: Mapping[str, int]) -> ServedAccount:
        """So many records of these incarnations came again and are in no other part of the summary."""
        return self.merge(ServedAccount({key: Incarnation(records=count) for key, count in records.items()}))

    def completeness(self, window: Window) -> Completeness:
        all_of = self.incarnations.values()
        served = [incarnation.served(window) for incarnation in all_of]
        known = [count for count in served if count is not None]
        seen = sum(incarnation.seen for incarnation in all_of)
        return Completeness(
            seen=seen,
            served=sum(known) if len(known) == len(served) and served else None,
            sampled_out=sum(incarnation.sampled_out() for incarnation in all_of),
            spooled=sum(incarnation.last.spooled for incarnation in all_of if incarnation.last),
            duplicates=sum(i.records - i.seen for i in all_of if not i.numbers.overflowed),
            unaccounted=len(served) - len(known),
        )

    def to_state(self) -> dict[str, Any]:
        return {
            key: [i.records, i.first, i.last, i.ended, i.unnumbered, i.numbers.to_state()]
            for key, i in self.incarnations.items()
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ServedAccount:
        return cls({key: _incarnation(*fields) for key, fields in state.items()})


def _incarnation(
    records: int,
    first: list[int] | None,
    last: list[int] | None,
    ended: bool,
    unnumbered: int | None = None,
    numbers: list[Any] | None = None,
) -> Incarnation:
    """The last two are missing in what older programs wrote, and so are a bound's."""
    return Incarnation(
        records=records,
        first=Bound(*first) if first else None,
        last=Bound(*last) if last else None,
        ended=ended,
        numbers=SeenNumbers.from_state(numbers) if numbers else SeenNumbers(),
        unnumbered=records if unnumbered is None else unnumbered,
    )


def _bounds(heartbeats: Iterable[Heartbeat]) -> dict[str, Incarnation]:
    told: dict[str, list[Heartbeat]] = {}
    for heartbeat in heartbeats:
        told.setdefault(f"{heartbeat.replica}/{heartbeat.incarnation}", []).append(heartbeat)
    found = {}
    for key, beats in told.items():
        bounds = [Bound(b.time_ms, b.seq, b.account.sampled_out, b.account.spooled) for b in beats]
        found[key] = Incarnation(first=min(bounds), last=max(bounds), ended=any(beat.final for beat in beats))
    return found
