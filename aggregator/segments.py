"""
What a shard keeps of its monitors, many to a segment: to open one, or to ask Spark for one, costs more than the bytes
of a summary.

A segment is written once and removed when nothing in it is wanted any more. What will change soon is kept apart from
what stays, so that little is kept for the sake of its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from aggregator.progress import Held, Place, WindowKey
from aggregator.storage import Storage
from tidegauge.summaries import container

SEGMENT_BYTES: Final = 1 << 20
"""A segment is closed when it has so much in it: some 25 windows of 30 features, or one that is larger."""

MEMORY_SEGMENTS: Final = 8
"""
In so many a shard's memories may be. A monitor that is seldom judged leaves its memory in an old one, among others
that were replaced since.
"""


class Sort(Enum):
    """Of what is kept: things of one sort go at about the same time."""

    OPEN = auto()
    """Summaries of windows that may still change."""
    SETTLED = auto()
    """Summaries of windows that hardly will."""
    MEMORY = auto()
    """What verdicts remember."""


class Segment(NamedTuple):
    """name: the storage's. wanted: how many of the things in it are."""

    name: str
    wanted: int


@dataclass
class Index:
    """next: number of the next segment. segments: those that are there, by number."""

    next: int = 1
    segments: dict[int, Segment] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(segment.name for segment in self.segments.values())

    def to_document(self) -> list[Any]:
        return [self.next, [[number, *segment] for number, segment in self.segments.items()]]

    @classmethod
    def from_document(cls, document: list[Any]) -> Index:
        following, segments = document
        return cls(following, {number: Segment(name, wanted) for number, name, wanted in segments})


class Segments:
    """One step's look at them. The index is up to date after `save`. names: of all that were or are there."""

    def __init__(self, storage: Storage, index: Index) -> None:
        self._storage, self._index = storage, index
        self.names = set(index.names)
        self._read: dict[int, list[bytes]] = {}
        self._filling: dict[Sort, int] = {}
        self._wanted = {number: segment.wanted for number, segment in index.segments.items()}

    def get(self, place: Place) -> bytes:
        if place.segment not in self._read:
            self._read[place.segment] = container.load(self._storage.get(self._index.segments[place.segment].name))
        return self._read[place.segment][place.position]

    def put(self, thing: bytes, sort: Sort) -> Place:
        number = self._filling.get(sort)
        if number is None:
            number = self._filling[sort] = self._index.next
            self._index.next += 1
            self._wanted[number], self._read[number] = 0, []
        things = self._read[number]
        things.append(thing)
        self._wanted[number] += 1
        if sum(map(len, things)) >= SEGMENT_BYTES:
            self._write(sort)
        return Place(number, len(things) - 1)

    def remove(self, place: Place) -> None:
        self._wanted[place.segment] -= 1

    def save(self) -> None:
        for sort in list(self._filling):
            self._write(sort)
        segments = self._index.segments
        self._index.segments = {
            number: segments[number]._replace(wanted=wanted) for number, wanted in self._wanted.items() if wanted
        }

    def _write(self, sort: Sort) -> None:
        number = self._filling.pop(sort)
        if not self._wanted[number]:
            return
        name = self._storage.put(number, container.dump(self._read[number]), settled=sort is Sort.SETTLED)
        self.names.add(name)
        self._index.segments[number] = Segment(name, self._wanted[number])


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
        place = self._places[key] = self._segments.put(summary, Sort.SETTLED if settled else Sort.OPEN)
        return place

    def remove(self, key: WindowKey) -> None:
        self._segments.remove(self._places.pop(key))


class StoredMemories:
    """
    evaluate.Memories of one monitor. places: of all the shard's, by monitor and then by version and baseline; brought
    up to date.
    """

    def __init__(self, segments: Segments, places: dict[str, dict[str, Place]], monitor: str) -> None:
        self._segments, self._places, self._monitor = segments, places, monitor

    def get(self, version: str, baseline: str) -> bytes | None:
        place = self._places.get(self._monitor, {}).get(f"{version}/{baseline}")
        return None if place is None else self._segments.get(place)

    def put(self, version: str, baseline: str, memory: bytes) -> None:
        mine, name = self._places.setdefault(self._monitor, {}), f"{version}/{baseline}"
        if name in mine:
            self._segments.remove(mine[name])
        mine[name] = self._segments.put(memory, Sort.MEMORY)

    def clear(self) -> None:
        for place in self._places.pop(self._monitor, {}).values():
            self._segments.remove(place)


def gather_memories(segments: Segments, places: dict[str, dict[str, Place]]) -> None:
    """places: as StoredMemories has them. Empties the oldest segment where they are in too many."""
    numbers = {place.segment for mine in places.values() for place in mine.values()}
    if len(numbers) <= MEMORY_SEGMENTS:
        return
    oldest = min(numbers)
    for mine, name, place in list(_each(places)):
        if place.segment == oldest:
            mine[name] = segments.put(segments.get(place), Sort.MEMORY)
            segments.remove(place)


def _each(places: dict[str, dict[str, Place]]) -> Iterator[tuple[dict[str, Place], str, Place]]:
    for mine in places.values():
        for name, place in mine.items():
            yield mine, name, place
