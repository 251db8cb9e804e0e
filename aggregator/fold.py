"""
Raw messages turned into a few rows: one summary per (monitor, version, baseline, window) and one dead
letter per message that cannot be used. Runs before the shuffle, so the shuffle carries summaries and not records.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import orjson
import pyarrow as pa

from aggregator.catalogue import Catalogue
from aggregator.cycles import no_search
from aggregator.progress import WindowKey
from aggregator.shards import shard_of
from aggregator.sorting import UNUSABLE, Group, Refusal, Sorter, profile_of
from aggregator.windows import Part
from aggregator.written_record import read
from tidegauge.errors import InvalidRecord
from tidegauge.records import InferenceRecord, decode
from tidegauge.summaries.gathered_records import GatheredRecords
from tidegauge.summaries.window_summary import Gathered, WindowSummary, summarise_all

KEPT_BYTES: Final = 1024
"""So much of a dead message travels with its dead letter; the whole stays in the inference topic at its offset."""

DEAD: Final = ""
"""Stands for monitor and shard in dead letters' rows, which may name no monitor or a wrong one."""

FOLDED: Final = pa.schema(
    [
        ("shard", pa.string()),
        ("monitor", pa.string()),
        ("version", pa.string()),
        ("baseline", pa.string()),
        ("start_ms", pa.int64()),
        ("end_ms", pa.int64()),
        ("records", pa.int64()),
        ("inside", pa.int64()),
        ("sources", pa.string()),
        ("summary", pa.binary()),
        ("reason", pa.string()),
        ("topic", pa.string()),
        ("key", pa.string()),
        ("letter", pa.binary()),
    ]
)
"""
Summaries fill all up to summary; dead letters fill reason to letter, DEAD for shard and monitor, and no more. sources:
windows.Part.sources as JSON.
"""

FOLDED_COLUMNS: Final = (
    "shard string, monitor string, version string, baseline string, start_ms bigint, end_ms bigint, records bigint,"
    " inside bigint, sources string, summary binary, reason string, topic string, key string, letter binary"
)
"""FOLDED in Spark's words."""

MOST_MESSAGES: Final = 50_000
MOST_BYTES: Final = 64 << 20
"""
Of messages folded into the same summaries. Spark hands them over in small batches; the fewer summaries they become, the
fewer are to be merged. Their bytes are kept until then, for those that turn out to be of no use.
"""


class Messages(NamedTuple):
    """
    Some messages, each with what names it: the source, "topic/partition", and its offset there. A value is None where a
    message has none.
    """

    sources: Sequence[str]
    offsets: Sequence[int]
    values: Sequence[bytes | None]

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Messages:
        """batch: columns topic, partition, offset, value."""
        topics, partitions, offsets, values = (
            batch.column(name).to_pylist() for name in ("topic", "partition", "offset", "value")
        )
        return cls([f"{topic}/{at}" for topic, at in zip(topics, partitions, strict=True)], offsets, values)


def fold(messages: Iterator[Messages], catalogue: Catalogue, clock_ms: Callable[[], int]) -> Iterator[pa.RecordBatch]:
    """Gives FOLDED. clock_ms: UTC epoch, asked once per fold."""
    while (rows := _folded_together(messages, catalogue, clock_ms)) is not None:
        yield rows


def _folded_together(
    messages: Iterator[Messages], catalogue: Catalogue, clock_ms: Callable[[], int]
) -> pa.RecordBatch | None:
    """Of so many messages as go into the same summaries; None when there are none."""
    rows, one = None, None
    with no_search():  # decoded messages are many lists: it took 38 % of the fold's time
        for some in messages:
            one = one or Fold(catalogue, clock_ms())
            one.take(some)
            if one.is_full:
                break
        if one is not None:
            rows = one.rows()
            del one  # its many objects are gone before cycles are looked for again
    return rows


def fold_batch(batch: pa.RecordBatch, catalogue: Catalogue, now_ms: int) -> pa.RecordBatch:
    return next(fold(iter([Messages.of(batch)]), catalogue, lambda: now_ms))


class Fold:
    """Messages on their way to summaries. They have positions, counted through all that were taken."""

    def __init__(self, catalogue: Catalogue, now_ms: int) -> None:
        self._catalogue = catalogue
        self._sorter = Sorter(catalogue, now_ms)
        self._refused: dict[int, Refusal] = {}
        self._taken: list[Messages] = []
        self._starts: list[int] = []
        self._messages = self._bytes = 0

    @property
    def is_full(self) -> bool:
        return self._messages >= MOST_MESSAGES or self._bytes >= MOST_BYTES

    def take(self, messages: Messages) -> None:
        sort = self._sorter.sort
        for position, (source, value) in enumerate(zip(messages.sources, messages.values, strict=True), self._messages):
            try:
                refusal = sort(position, read(value or b""), source)
            except InvalidRecord as error:
                refusal = Refusal(error.reason, error.detail)
            if refusal is not None:
                self._refused[position] = refusal
        self._taken.append(messages)
        self._starts.append(self._messages)
        self._messages += len(messages.values)
        self._bytes += sum(map(len, filter(None, messages.values)))

    def rows(self) -> pa.RecordBatch:
        """FOLDED. Nothing can be taken any more."""
        groups = self._sorter.groups
        gathered = {names: self._gathered(*names, group) for names, group in groups.items()}
        sound = [names for names, group in groups.items() if not group.spoiled]
        summaries = dict(zip(sound, _summarised([gathered[names] for names in sound]), strict=True))
        rows = [
            self._summary_row(*names, group, gathered[names], summaries.get(names)) for names, group in groups.items()
        ]
        letters = [self._letter_row(position, why) for position, why in self._refused.items()]
        return pa.RecordBatch.from_pylist([row for row in rows if row] + letters, schema=FOLDED)

    def _gathered(self, monitor: str, key: WindowKey, group: Group) -> Gathered:
        profile = profile_of(key.baseline, self._catalogue)
        return Gathered(group.records, group.heartbeats, profile, self._catalogue.monitors[monitor].statistics)

    def _summary_row(
        self, monitor: str, key: WindowKey, group: Group, gathered: Gathered, summary: WindowSummary | None
    ) -> dict[str, object] | None:
        """None when not one of the group's messages can be used."""
        if summary is None:
            group = self._usable(group, gathered)
            if not group.positions and not group.heartbeats:
                return None
            (summary,) = summarise_all([gathered._replace(records=group.records)])
        if group.duplicates:
            summary = replace(summary, account=summary.account.with_duplicates(group.duplicates))
        times_ms = [*group.records.times_ms(), *(beat.time_ms for beat in group.heartbeats)]
        return {
            "shard": shard_of(monitor),
            "monitor": monitor,
            "version": key.version,
            "baseline": key.baseline,
            "start_ms": key.start_ms,
            "end_ms": key.end_ms,
            "records": len(group.records),
            "inside": sum(time_ms < key.end_ms for time_ms in times_ms),
            "sources": orjson.dumps(group.latest_ms),
            "summary": summary.encode(),
        }

    def _usable(self, group: Group, gathered: Gathered) -> Group:
        """One message with a wrong value inside must not stop the stream: finds it, and goes on without it."""
        usable = group.without_records(gathered.profile)
        for position in group.positions:
            source, _, value = self._message(position)
            record = decode(value or b"")
            assert isinstance(record, InferenceRecord), "it was one before"
            try:
                alone = GatheredRecords.of([record], gathered.profile)
                summarise_all([gathered._replace(records=alone, heartbeats=())])
            except UNUSABLE as error:
                self._refused[position] = Refusal("unusable", repr(error))
            else:
                usable.add(position, record, source)
        return usable

    def _letter_row(self, position: int, refusal: Refusal) -> dict[str, object]:
        source, offset, value = self._message(position)
        topic, _, partition = source.rpartition("/")
        letter = {
            "v": 1,
            "kind": "dead_letter",
            "reason": refusal.reason,
            "detail": refusal.detail,
            "topic": topic,
            "partition": int(partition),
            "offset": offset,
            "size_bytes": len(value or b""),
            "value": (value or b"")[:KEPT_BYTES].decode("utf-8", "replace"),
        }
        return {
            "shard": DEAD,
            "monitor": DEAD,
            "reason": refusal.reason,
            "topic": self._catalogue.dead_letter_topic(topic),
            "key": f"{source}/{offset}",
            "letter": orjson.dumps(letter),
        }

    def _message(self, position: int) -> tuple[str, int, bytes | None]:
        """Its source, offset and value."""
        at = bisect.bisect_right(self._starts, position) - 1
        taken, within = self._taken[at], position - self._starts[at]
        return taken.sources[within], taken.offsets[within], taken.values[within]


def _summarised(gathered: Sequence[Gathered]) -> Sequence[WindowSummary | None]:
    """None where one of the records is not what it must be."""
    try:
        return summarise_all(gathered)
    except UNUSABLE:
        alone = ([one] for one in gathered)
        return [None] if len(gathered) == 1 else [summary for one in alone for summary in _summarised(one)]


def parts_of(frame: Any) -> Iterator[tuple[str, Part]]:
    """frame: summary rows of FOLDED, a pandas frame. Each with its monitor."""
    named = ("version", "baseline", "start_ms", "end_ms")
    columns = (frame[name].tolist() for name in ("monitor", *named, "summary", "records", "inside", "sources"))
    for monitor, version, baseline, start_ms, end_ms, summary, records, inside, sources in zip(*columns, strict=True):
        key = WindowKey(version, baseline, start_ms, end_ms)
        yield monitor, Part(key, summary, records, inside, orjson.loads(sources))
