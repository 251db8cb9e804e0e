"""
Which messages a micro-batch reads, and which of its tasks: offsets of Kafka's partitions, as Spark keeps them in its
checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

Offsets: TypeAlias = dict[str, dict[str, int]]
"""By topic and partition, the offset of the next message."""


SLICE_MESSAGES: Final = 5_000
"""To read fewer by a task of its own, or to ask a broker for them apart, takes longer than it saves."""


class Stretch(NamedTuple):
    """Messages of one partition, `end` not included."""

    topic: str
    partition: int
    start: int
    end: int

    @property
    def messages(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


def stretches(start: Mapping[str, Mapping[str, int]], end: Mapping[str, Mapping[str, int]]) -> list[Stretch]:
    """Those with a message. start: has every partition of end."""
    return [
        Stretch(topic, int(partition), start[topic][partition], last)
        for topic, partition, last in _each(end)
        if last > start[topic][partition]
    ]


def dealt(stretches: Sequence[Stretch], tasks: int) -> list[list[Stretch]]:
    """
    To so many tasks, or fewer, each with about as many messages: the first one gets the beginning of every stretch, the
    next what follows there. Partitions are read side by side, so messages of one time come to one task.
    """
    total = sum(stretch.messages for stretch in stretches)
    tasks = max(1, min(tasks, total // SLICE_MESSAGES))
    slices = [one for stretch in stretches for one in _slices(stretch, tasks)]
    slices.sort(key=itemgetter(0))
    hands: list[list[Stretch]] = [[] for _ in range(tasks)]
    before = 0
    for _, piece in slices:
        hands[(2 * before + piece.messages) * tasks // (2 * total)].append(piece)
        before += piece.messages
    return [hand for hand in hands if hand]


def _slices(stretch: Stretch, most: int) -> Iterator[tuple[float, Stretch]]:
    """Pieces of a stretch, each with where it begins: 0 is the stretch's start, 1 its end."""
    pieces = max(1, min(most, stretch.messages // SLICE_MESSAGES))
    ends = [stretch.start + stretch.messages * piece // pieces for piece in range(pieces + 1)]
    for piece, (start, end) in enumerate(pairwise(ends)):
        yield piece / pieces, stretch._replace(start=start, end=end)


def bounded(start: Offsets, latest: Offsets, maximum: int) -> Offsets:
    """
    The end of a micro-batch of so many messages or a few more: each partition gets its share of what waits in all, so
    that none falls behind the others. start: has every partition of latest, and none of a later offset.
    """
    waiting = sum(last - start[topic][partition] for topic, partition, last in _each(latest))
    if waiting <= maximum:
        return latest
    ends: Offsets = {}
    for topic, partition, last in _each(latest):
        begun = start[topic][partition]
        share = -(-(last - begun) * maximum // waiting)  # rounded up, so that every partition goes on
        ends.setdefault(topic, {})[partition] = begun + share
    return ends


def together(*parts: Mapping[str, Mapping[str, int]]) -> Offsets:
    """Of all; where two have the same partition, the later one's."""
    merged: Offsets = {}
    for offsets in parts:
        for topic, partition, offset in _each(offsets):
            merged.setdefault(topic, {})[partition] = offset
    return merged


def missing(wanted: Mapping[str, Mapping[str, int]], known: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
    """Partitions that are wanted and not known."""
    return [(topic, partition) for topic, partition, _ in _each(wanted) if partition not in known.get(topic, {})]


def gone_back(start: Offsets, latest: Offsets) -> list[str]:
    """Partitions that end before what was read of them: their topic was deleted and made anew."""
    return [f"{topic}/{at}" for topic, at, last in _each(latest) if last < start.get(topic, {}).get(at, 0)]


def _each(offsets: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, str, int]]:
    for topic, partitions in offsets.items():
        for partition, offset in partitions.items():
            yield topic, partition, offset
