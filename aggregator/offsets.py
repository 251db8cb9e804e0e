"""Which messages a micro-batch reads: offsets of Kafka's partitions, as Spark keeps them in its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

Offsets: TypeAlias = dict[str, dict[str, int]]
"""By topic and partition, the offset of the next message."""


class Stretch(NamedTuple):
    """Messages of one partition, `end` not included."""

    topic: str
    partition: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


def stretches(start: Mapping[str, Mapping[str, int]], end: Mapping[str, Mapping[str, int]]) -> list[Stretch]:
    """Those with a message. start: has every partition of end."""
    return [
        Stretch(topic, int(partition), start[topic][partition], last)
        for topic, partition, last in _each(end)
        if last > start[topic][partition]
    ]


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
