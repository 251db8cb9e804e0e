"""
Arrow batches of raw messages turned into a few rows: one summary per (monitor, version, baseline, window) and one dead
letter per message that cannot be used. Runs before the shuffle, so the shuffle carries summaries and not records.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from aggregator.catalogue import Catalogue
from aggregator.progress import WindowKey
from aggregator.windows import Part
from tidegauge.errors import InvalidRecord
from tidegauge.records import Heartbeat, InferenceRecord, decode
from tidegauge.summaries.window_summary import WindowSummary, summarise
from tidegauge.windows import windows_bounded_by, windows_of

MAXIMUM_LEAD_MS: Final = 60_000
"""A message from further in the future would close every window of its monitor at once."""

MAXIMUM_VERSION_LENGTH: Final = 200

KEPT_BYTES: Final = 1024
"""So much of a dead message travels with its dead letter; the whole stays in the inference topic at its offset."""

DEAD: Final = ""
"""Stands for the monitor in dead letters' rows, which may name no monitor or a wrong one."""

REFUSALS: Final = ("unknown_monitor", "unknown_baseline", "clock_ahead", "before_epoch", "bad_version", "unusable")
"""Why a well-formed message becomes a dead letter; malformed ones have tidegauge.records.INVALID_REASONS."""

FOLDED: Final = pa.schema(
    [
        ("monitor", pa.string()),
        ("version", pa.string()),
        ("baseline", pa.string()),
        ("start_ms", pa.int64()),
        ("end_ms", pa.int64()),
        ("records", pa.int64()),
        ("inside", pa.int64()),
        ("latest_ms", pa.int64()),
        ("source", pa.string()),
        ("summary", pa.binary()),
        ("reason", pa.string()),
        ("topic", pa.string()),
        ("key", pa.string()),
        ("letter", pa.binary()),
    ]
)
"""Summaries fill monitor to summary; dead letters fill reason to letter and leave the rest empty."""

FOLDED_COLUMNS: Final = (
    "monitor string, version string, baseline string, start_ms bigint, end_ms bigint, records bigint, inside bigint,"
    " latest_ms bigint, source string, summary binary, reason string, topic string, key string, letter binary"
)
"""FOLDED in Spark's words."""

Message: TypeAlias = InferenceRecord | Heartbeat


class Refusal(NamedTuple):
    reason: str
    detail: str


@dataclass(slots=True)
class _Group:
    """
    Messages of one window from one partition, with their positions in the Arrow batch. duplicates: records left out
    since the batch has them already, by "replica/incarnation".
    """

    records: list[tuple[int, InferenceRecord]] = field(default_factory=list)
    heartbeats: list[tuple[int, Heartbeat]] = field(default_factory=list)
    duplicates: Counter[str] = field(default_factory=Counter)


def fold(
    batches: Iterator[pa.RecordBatch], catalogue: Catalogue, clock_ms: Callable[[], int]
) -> Iterator[pa.RecordBatch]:
    """Takes columns topic, partition, offset, value; gives FOLDED. clock_ms: UTC epoch, asked once per batch."""
    for batch in batches:
        with _no_cycle_collection():
            rows = fold_batch(batch, catalogue, clock_ms())
        yield rows


def fold_batch(batch: pa.RecordBatch, catalogue: Catalogue, now_ms: int) -> pa.RecordBatch:
    values = [value or b"" for value in batch.column("value").to_pylist()]
    refused: dict[int, Refusal] = {}
    sorter = _Sorter(catalogue, now_ms)
    for position, (value, source) in enumerate(zip(values, _sources(batch), strict=True)):
        try:
            message = decode(value)
        except InvalidRecord as error:
            refused[position] = Refusal(error.reason, error.detail)
            continue
        refusal = sorter.sort(position, message, source)
        if refusal is not None:
            refused[position] = refusal
    rows = [_summary_row(*names, group, catalogue, refused) for names, group in sorter.groups.items()]
    letters = [_letter_row(batch, position, values[position], why, catalogue) for position, why in refused.items()]
    return pa.RecordBatch.from_pylist([row for row in rows if row] + letters, schema=FOLDED)


@contextlib.contextmanager
def _no_cycle_collection() -> Iterator[None]:
    """Decoded messages are many lists and no cycles: searching them for some took 38 % of the fold's time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def part_of(row: Any) -> Part:
    """A summary row of FOLDED, with its columns as attributes."""
    key = WindowKey(row.version, row.baseline, int(row.start_ms), int(row.end_ms))
    return Part(key, bytes(row.summary), int(row.records), int(row.inside), int(row.latest_ms), row.source)


def _refusal(message: Message, catalogue: Catalogue, now_ms: int) -> Refusal | None:
    expected = catalogue.baselines.get(message.monitor)
    if expected is None:
        return Refusal("unknown_monitor", f"monitor {message.monitor[:80]!r}, known: {', '.join(catalogue.monitors)}")
    if not catalogue.accepts(message.monitor, message.baseline):
        return Refusal("unknown_baseline", f"baseline {message.baseline[:80]!r}, the monitor has {expected}")
    if message.time_ms > now_ms + MAXIMUM_LEAD_MS:
        return Refusal("clock_ahead", f"time_ms is {message.time_ms - now_ms} ms ahead of the aggregator's clock")
    if message.time_ms < 0:
        return Refusal("before_epoch", f"time_ms = {message.time_ms}")
    if len(message.version) > MAXIMUM_VERSION_LENGTH or not message.version.isprintable():
        return Refusal("bad_version", f"version of {len(message.version)} characters")
    return None


class _Sorter:
    """
    Messages of one batch into the groups of their windows. Windows begin and end on whole seconds, so records of one
    second that are alike otherwise belong to the same.
    """

    def __init__(self, catalogue: Catalogue, now_ms: int) -> None:
        self._catalogue, self._now_ms = catalogue, now_ms
        self.groups: dict[tuple[str, str, WindowKey], _Group] = {}
        """By monitor, source and window."""
        self._of_second: dict[tuple[str, str, str, str, int], list[_Group]] = {}
        self._known: set[tuple[str, str, str, int]] = set()

    def sort(self, position: int, message: Message, source: str) -> Refusal | None:
        if isinstance(message, Heartbeat):
            refusal = _refusal(message, self._catalogue, self._now_ms)
            if refusal is None:
                for group in self._groups_of(message, source):
                    group.heartbeats.append((position, message))
            return refusal
        second = (message.monitor, message.version, message.baseline, source, message.time_ms // 1000)
        groups = self._of_second.get(second)
        if groups is None or message.time_ms > self._now_ms:
            refusal = _refusal(message, self._catalogue, self._now_ms)
            if refusal is not None:
                return refusal
            groups = self._of_second[second] = self._groups_of(message, source)
        self._add(groups, position, message)
        return None

    def _add(self, groups: list[_Group], position: int, record: InferenceRecord) -> None:
        """What a producer repeats mostly stands beside what it repeats."""
        name = (record.monitor, record.replica, record.incarnation, record.seq)
        if name in self._known:
            for group in groups:
                group.duplicates[f"{record.replica}/{record.incarnation}"] += 1
            return
        self._known.add(name)
        for group in groups:
            group.records.append((position, record))

    def _groups_of(self, message: Message, source: str) -> list[_Group]:
        """One for each window that the message belongs to."""
        windows = self._catalogue.monitors[message.monitor].windows
        among = windows_of if isinstance(message, InferenceRecord) else windows_bounded_by
        found = []
        for window in among(message.time_ms, windows):
            key = WindowKey(message.version, message.baseline, window.start_ms, window.end_ms)
            group = self.groups.get((message.monitor, source, key))
            if group is None:
                group = self.groups[message.monitor, source, key] = _Group()
            found.append(group)
        return found


def _sources(batch: pa.RecordBatch) -> list[str]:
    """Of each message, the partition it was read from. Kafka's batches have one each."""
    topics, partitions = batch.column("topic"), batch.column("partition")
    if len(pc.unique(topics)) == 1 and len(pc.unique(partitions)) == 1:
        return [f"{topics[0].as_py()}/{partitions[0].as_py()}"] * batch.num_rows
    return [f"{topic}/{at}" for topic, at in zip(topics.to_pylist(), partitions.to_pylist(), strict=True)]


def _summary_row(
    monitor: str, source: str, key: WindowKey, group: _Group, catalogue: Catalogue, refused: dict[int, Refusal]
) -> dict[str, object] | None:
    """None when not one of the group's messages can be used."""
    summary = _summarised(group, monitor, key, catalogue, refused)
    if summary is None:
        return None
    times = [record.time_ms for _, record in group.records] + [beat.time_ms for _, beat in group.heartbeats]
    return {
        "monitor": monitor,
        "version": key.version,
        "baseline": key.baseline,
        "start_ms": key.start_ms,
        "end_ms": key.end_ms,
        "records": len(group.records),
        "inside": sum(time_ms < key.end_ms for time_ms in times),
        "latest_ms": max(times),
        "source": source,
        "summary": summary.encode(),
    }


def _summarised(
    group: _Group, monitor: str, key: WindowKey, catalogue: Catalogue, refused: dict[int, Refusal]
) -> WindowSummary | None:
    try:
        return _summary(group, monitor, key, catalogue)
    except _UNUSABLE:
        # One message with a wrong value inside must not stop the stream: find it, and go on without it.
        for position, message in list(group.records):
            try:
                _summary(_Group([(position, message)]), monitor, key, catalogue)
            except _UNUSABLE as error:
                refused[position] = Refusal("unusable", repr(error))
                group.records.remove((position, message))
        return _summary(group, monitor, key, catalogue) if group.records or group.heartbeats else None


_UNUSABLE: Final = (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError)


def _summary(group: _Group, monitor: str, key: WindowKey, catalogue: Catalogue) -> WindowSummary:
    profile = catalogue.profile(key.baseline)
    assert profile is not None, "messages of unknown baselines are refused"
    records, beats = [record for _, record in group.records], [beat for _, beat in group.heartbeats]
    summary = summarise(records, beats, profile, catalogue.monitors[monitor].statistics)
    if not group.duplicates:
        return summary
    return replace(summary, account=summary.account.with_duplicates(group.duplicates))


def _letter_row(
    batch: pa.RecordBatch, position: int, value: bytes, refusal: Refusal, catalogue: Catalogue
) -> dict[str, object]:
    topic, partition, offset = (batch.column(name)[position].as_py() for name in ("topic", "partition", "offset"))
    letter = {
        "v": 1,
        "kind": "dead_letter",
        "reason": refusal.reason,
        "detail": refusal.detail,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "size_bytes": len(value),
        "value": value[:KEPT_BYTES].decode("utf-8", "replace"),
    }
    return {
        "monitor": DEAD,
        "reason": refusal.reason,
        "topic": catalogue.dead_letter_topic(topic),
        "key": f"{topic}/{partition}/{offset}",
        "letter": orjson.dumps(letter),
    }
