"""
The summaries of a shard's windows, many to an entry of Spark's state: to ask Spark for an entry, or to hand it one,
costs more than the bytes of a summary.

A segment is written once and removed when nothing in it is wanted any more. What will change soon is kept apart from
what stays, so that little is kept for the sake of its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aggregator.entries import Entries
from aggregator.progress import Held, Place, WindowKey
from tidegauge.summaries import container

SEGMENT_BYTES: Final = 1 << 20
"""A segment is closed when it has so much in it: some 25 windows of 30 features, or one that is larger."""


@dataclass
class Index:
    """next: number of the next segment. wanted: of each that is there, how many of its summaries are wanted."""

    next: int = 1
    wanted: dict[int, int] = field(default_factory=dict)


class Segments:
    """One step's look at them. The index is brought up to date; the entries are when `save` is called."""

    def __init__(self, entries: Entries, index: Index) -> None:
        self._entries, self._index = entries, index
        self._read: dict[int, list[bytes]] = {}
        self._filling: dict[bool, int] = {}

    def get(self, place: Place) -> bytes:
        if place.segment not in self._read:
            stored = self._entries.get(_name(place.segment))
            assert stored is not None, f"segment {place.segment} is there while a summary of it is wanted"
            self._read[place.segment] = container.load(stored)
        return self._read[place.segment][place.position]

    def put(self, summary: bytes, *, settled: bool) -> Place:
        """settled: it will hardly change any more."""
        number = self._filling.get(settled)
        if number is None:
            number = self._filling[settled] = self._index.next
            self._index.next += 1
            self._index.wanted[number], self._read[number] = 0, []
        summaries = self._read[number]
        summaries.append(summary)
        self._index.wanted[number] += 1
        if sum(map(len, summaries)) >= SEGMENT_BYTES:
            self._write(settled)
        return Place(number, len(summaries) - 1)

    def remove(self, place: Place) -> None:
        self._index.wanted[place.segment] -= 1

    def save(self) -> None:
        for settled in list(self._filling):
            self._write(settled)
        for number in [number for number, wanted in self._index.wanted.items() if not wanted]:
            del self._index.wanted[number]
            self._entries.remove(_name(number))

    def _write(self, settled: bool) -> None:
        number = self._filling.pop(settled)
        put = self._entries.put_away if settled else self._entries.put
        put(_name(number), container.dump(self._read[number]))


def _name(number: int) -> str:
    return f"segment/{number}"


class StoredWindows:
    """windows.Store of one monitor. held: as its progress has them before the step."""

    def __init__(self, segments: Segments, held: Mapping[WindowKey, Held]) -> None:
        self._segments = segments
        self._places = {key: one.place for key, one in held.items()}

    def get(self, key: WindowKey) -> bytes:
        return self._segments.get(self._places[key])

    def put(self, key: WindowKey, summary: bytes, *, settled: bool) -> Place:
        if key in self._places:
            self.remove(key)
        place = self._places[key] = self._segments.put(summary, settled=settled)
        return place

    def remove(self, key: WindowKey) -> None:
        self._segments.remove(self._places.pop(key))
