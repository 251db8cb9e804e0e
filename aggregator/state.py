"""The keyed state of one shard of monitors in Spark: loads it, lets `windows` decide, judges what closed, saves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Final, NamedTuple

import pandas as pd
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from aggregator import entries
from aggregator.catalogue import Catalogue
from aggregator.cycles import no_search, spare_what_stays
from aggregator.entries import Entries
from aggregator.evaluate import DEAD_LETTER, TOLD_MS, Output, Stepped, outputs_of, state_told, tally
from aggregator.fold import DEAD, parts_of
from aggregator.packed import Parcel, packed
from aggregator.segments import Segments, StoredWindows
from aggregator.shards import Shard
from aggregator.windows import Part, Step, take, wake
from tidegauge.monitor import Windows

UNKNOWN: Final = Windows(watermark_ms=0, lateness_ms=0)
"""Of a monitor that is no longer configured: nothing of it is waited for."""

SHARD: Final = "shard"
"""Name of the entry that says what others there are."""

FRAME_PARCELS: Final = 256
"""So many are handed to Spark at once: reports in them are some 8 MB, packed."""


class StoredMemories(NamedTuple):
    """evaluate.Memories of one monitor."""

    entries: Entries
    monitor: str

    def get(self, version: str, baseline: str) -> bytes | None:
        return self.entries.get(self._name(version, baseline))

    def put(self, version: str, baseline: str, memory: bytes) -> None:
        self.entries.put(self._name(version, baseline), memory)

    def clear(self) -> None:
        for name in [name for name in self.entries.names() if name.startswith(self._prefix)]:
            self.entries.remove(name)

    def _name(self, version: str, baseline: str) -> str:
        return f"{self._prefix}{version}/{baseline}"

    @property
    def _prefix(self) -> str:
        """Names of monitors have no slash."""
        return f"memory/{self.monitor}/"


class WindowProcessor(StatefulProcessor):  # type: ignore[misc]
    """Grouping key: a shard, DEAD for dead letters. Takes fold.FOLDED rows, gives Parcel rows."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def init(self, handle: StatefulProcessorHandle) -> None:
        spare_what_stays("step")
        self._handle = handle
        self._entries = Entries(handle.getMapState("entries", entries.KEY, entries.VALUE))

    def handleInputRows(self, key: Any, rows: Iterator[pd.DataFrame], timerValues: Any) -> Iterator[pd.DataFrame]:
        if key[0] == DEAD:
            yield from _frames(_dead_letters(rows))
            return
        with no_search():
            shard, now_ms, steps = self._load(), timerValues.getCurrentProcessingTimeInMs(), {}
            before_ms, segments = shard.wake_ms, Segments(self._entries, shard.segments)
            for monitor, parts in _by_monitor(rows).items():
                known, rules = shard.get(monitor), self._rules(monitor)
                store = StoredWindows(segments, known.windows)
                steps[monitor] = take(known, parts, rules=rules, now_ms=now_ms, store=store)
            segments.save()
            yield from self._finish(shard, before_ms, steps, now_ms)

    def handleExpiredTimer(self, key: Any, timerValues: Any, expiredTimerInfo: Any) -> Iterator[pd.DataFrame]:
        with no_search():
            shard, now_ms, steps = self._load(), timerValues.getCurrentProcessingTimeInMs(), {}
            before_ms, segments = shard.wake_ms, Segments(self._entries, shard.segments)
            for monitor in shard.due(now_ms):
                known, rules = shard.get(monitor), self._rules(monitor)
                steps[monitor] = wake(known, rules=rules, now_ms=now_ms, store=StoredWindows(segments, known.windows))
            segments.save()
            yield from self._finish(shard, before_ms, steps, now_ms)

    def _load(self) -> Shard:
        return Shard(self._entries.get(SHARD))

    def _rules(self, monitor: str) -> Windows:
        known = self._catalogue.monitors.get(monitor)
        return known.windows if known else UNKNOWN

    def _finish(
        self, shard: Shard, before_ms: int | None, steps: Mapping[str, Step], now_ms: int
    ) -> Iterator[pd.DataFrame]:
        """before_ms: when the shard wanted to be looked at before these steps."""
        told = [
            state_told(monitor, step.progress, now_ms)
            for monitor, step in steps.items()
            if now_ms - step.progress.told_ms >= TOLD_MS
        ]
        told_of = {output.key for output in told}
        for monitor, step in steps.items():
            progress = step.progress
            shard.put(monitor, replace(progress, told_ms=now_ms) if monitor in told_of else progress)
            if monitor not in self._catalogue.monitors and not progress.windows:
                # One that was removed leaves nothing behind. Its windows have been closed and accounted for.
                shard.drop(monitor)
                StoredMemories(self._entries, monitor).clear()
        self._save(shard, before_ms)
        stepped = [Stepped(monitor, step, StoredMemories(self._entries, monitor)) for monitor, step in steps.items()]
        yield from _frames(chain(outputs_of(stepped, self._catalogue), told))

    def _save(self, shard: Shard, before_ms: int | None) -> None:
        """One look is due at a time: an earlier one takes the place of a later one."""
        self._entries.put(SHARD, shard.encode())
        wake_ms = shard.wake_ms
        if wake_ms is None or wake_ms == before_ms:
            return
        if before_ms is not None and wake_ms < before_ms:
            self._handle.deleteTimer(before_ms)
        self._handle.registerTimer(wake_ms)


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
