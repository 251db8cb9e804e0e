"""The keyed state of one shard of monitors in Spark: loads it, lets `windows` decide, judges what closed, saves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import pandas as pd
from pyspark import TaskContext
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from aggregator import entries
from aggregator.catalogue import Catalogue
from aggregator.cycles import no_search, spare_what_stays
from aggregator.entries import Entries
from aggregator.evaluate import DEAD_LETTER, TOLD_MS, Output, Stepped, outputs_of, state_told, tally
from aggregator.fold import DEAD, parts_of
from aggregator.packed import Parcel, packed
from aggregator.segments import Segments, StoredMemories, StoredWindows, gather_memories
from aggregator.shards import Shard
from aggregator.storage import InFiles, InState, Storage
from aggregator.windows import Part, Step, take, wake
from tidegauge.monitor import Windows

UNKNOWN: Final = Windows(watermark_ms=0, lateness_ms=0)
"""Of a monitor that is no longer configured: nothing of it is waited for."""

FRAME_PARCELS: Final = 256
"""So many are handed to Spark at once: reports in them are some 8 MB, packed."""


class Opened:
    """A shard that is being worked on. wake_ms: when it wanted to be looked at before that."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.shard = Shard(storage.load())
        self.wake_ms = self.shard.wake_ms
        self.segments = Segments(storage, self.shard.segments)

    def memories(self, monitor: str) -> StoredMemories:
        return StoredMemories(self.segments, self.shard.memories, monitor)

    def save(self) -> None:
        gather_memories(self.segments, self.shard.memories)
        self.segments.save()
        self._storage.save(self.shard.encode(), names=self.segments.names, wanted=self.shard.segments.names)


class WindowProcessor(StatefulProcessor):  # type: ignore[misc]
    """
    Grouping key: a shard, DEAD for dead letters. Takes fold.FOLDED rows, gives Parcel rows. directory: where shards are
    kept, None for Spark's state.
    """

    def __init__(self, catalogue: Catalogue, directory: Path | None = None) -> None:
        self._catalogue, self._directory = catalogue, directory

    def init(self, handle: StatefulProcessorHandle) -> None:
        spare_what_stays("step")
        self._handle = handle
        self._entries = Entries(handle.getMapState("entries", entries.KEY, entries.VALUE))

    def handleInputRows(self, key: Any, rows: Iterator[pd.DataFrame], timerValues: Any) -> Iterator[pd.DataFrame]:
        if key[0] == DEAD:
            yield from _frames(_dead_letters(rows))
            return
        with no_search():
            opened, now_ms, steps = self._open(key[0]), timerValues.getCurrentProcessingTimeInMs(), {}
            for monitor, parts in _by_monitor(rows).items():
                known, rules = opened.shard.get(monitor), self._rules(monitor)
                store = StoredWindows(opened.segments, known.windows)
                steps[monitor] = take(known, parts, rules=rules, now_ms=now_ms, store=store)
            yield from self._finish(opened, steps, now_ms)

    def handleExpiredTimer(self, key: Any, timerValues: Any, expiredTimerInfo: Any) -> Iterator[pd.DataFrame]:
        with no_search():
            opened, now_ms, steps = self._open(key[0]), timerValues.getCurrentProcessingTimeInMs(), {}
            for monitor in opened.shard.due(now_ms):
                known, rules = opened.shard.get(monitor), self._rules(monitor)
                store = StoredWindows(opened.segments, known.windows)
                steps[monitor] = wake(known, rules=rules, now_ms=now_ms, store=store)
            yield from self._finish(opened, steps, now_ms)

    def _open(self, shard: str) -> Opened:
        if self._directory is None:
            return Opened(InState(self._entries))
        return Opened(InFiles(self._entries, self._directory / shard, micro_batch()))

    def _rules(self, monitor: str) -> Windows:
        known = self._catalogue.monitors.get(monitor)
        return known.windows if known else UNKNOWN

    def _finish(self, opened: Opened, steps: Mapping[str, Step], now_ms: int) -> Iterator[pd.DataFrame]:
        told = [
            state_told(monitor, step.progress, now_ms)
            for monitor, step in steps.items()
            if now_ms - step.progress.told_ms >= TOLD_MS
        ]
        told_of, shard = {output.key for output in told}, opened.shard
        for monitor, step in steps.items():
            progress = step.progress
            shard.put(monitor, replace(progress, told_ms=now_ms) if monitor in told_of else progress)
        stepped = [Stepped(monitor, step, opened.memories(monitor)) for monitor, step in steps.items()]
        yield from _frames(chain(outputs_of(stepped, self._catalogue), told))
        for monitor, step in steps.items():
            if monitor not in self._catalogue.monitors and not step.progress.windows:
                # One that was removed leaves nothing behind. Its windows have been closed and accounted for.
                shard.drop(monitor)
                opened.memories(monitor).clear()
        opened.save()
        self._look_again(shard.wake_ms, opened.wake_ms)

    def _look_again(self, wake_ms: int | None, before_ms: int | None) -> None:
        """One look is due at a time: an earlier one takes the place of a later one."""
        if wake_ms is None or wake_ms == before_ms:
            return
        if before_ms is not None and wake_ms < before_ms:
            self._handle.deleteTimer(before_ms)
        self._handle.registerTimer(wake_ms)


def micro_batch() -> int:
    """Number of the one under way."""
    return int(TaskContext.get().getLocalProperty("streaming.sql.batchId"))


def _by_monitor(frames: Iterable[pd.DataFrame]) -> dict[str, list[Part]]:
    parts: dict[str, list[Part]] = {}
    for frame in frames:
        for monitor, part in parts_of(frame):
            parts.setdefault(monitor, []).append(part)
    return parts


def _dead_letters(frames: Iterable[pd.DataFrame]) -> Iterator[Output]:
    reasons: Counter[str] = Counter()
    for frame in frames:
        reasons.update(frame["reason"])
        for topic, key, letter in zip(*(frame[name].tolist() for name in ("topic", "key", "letter")), strict=True):
            yield Output(DEAD_LETTER, topic, key, letter)
    yield from tally(reasons)


def _frames(outputs: Iterable[Output]) -> Iterator[pd.DataFrame]:
    parcels = packed(outputs)
    while some := list(islice(parcels, FRAME_PARCELS)):
        yield pd.DataFrame(some, columns=list(Parcel._fields))
