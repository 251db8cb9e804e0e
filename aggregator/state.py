"""The keyed state of one monitor in Spark: loads it, lets `windows` decide, judges what closed, saves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import pandas as pd
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from aggregator.catalogue import Catalogue
from aggregator.cycles import spare_what_stays
from aggregator.evaluate import DEAD_LETTER, TOLD_MS, Output, outputs_of, state_told, tally
from aggregator.fold import DEAD, part_of
from aggregator.packed import PackedOutput
from aggregator.progress import Progress, WindowKey
from aggregator.windows import Step, take, wake
from tidegauge.monitor import Windows

UNKNOWN: Final = Windows(watermark_ms=0, lateness_ms=0)
"""Of a monitor that is no longer configured: nothing of it is waited for."""


class StoredWindows:
    """windows.Store in a MapState of the current key."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def get(self, key: WindowKey) -> bytes:
        return bytes(self._state.getValue(_tuple(key))[0])

    def put(self, key: WindowKey, summary: bytes) -> None:
        self._state.updateValue(_tuple(key), (summary,))

    def remove(self, key: WindowKey) -> None:
        self._state.removeKey(_tuple(key))


class StoredMemories:
    """evaluate.Memories in a MapState of the current key."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def get(self, version: str, baseline: str) -> bytes | None:
        stored = self._state.getValue((version, baseline))
        return None if stored is None else bytes(stored[0])

    def put(self, version: str, baseline: str, memory: bytes) -> None:
        self._state.updateValue((version, baseline), (memory,))


class WindowProcessor(StatefulProcessor):  # type: ignore[misc]
    """Grouping key: monitor name, DEAD for dead letters. Takes fold.FOLDED rows, gives PackedOutput rows."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def init(self, handle: StatefulProcessorHandle) -> None:
        spare_what_stays("step")
        self._handle = handle
        self._progress = handle.getValueState("progress", "progress binary")
        self._windows = handle.getMapState(
            "windows", "version string, baseline string, start_ms bigint, end_ms bigint", "summary binary"
        )
        self._memories = handle.getMapState("memories", "version string, baseline string", "memory binary")

    def handleInputRows(self, key: Any, rows: Iterator[pd.DataFrame], timerValues: Any) -> Iterator[pd.DataFrame]:
        if key[0] == DEAD:
            yield from _dead_letters(rows)
            return
        parts = [part_of(row) for frame in rows for row in frame.itertuples(index=False)]
        now_ms = timerValues.getCurrentProcessingTimeInMs()
        before = self._load()
        step = take(before, parts, rules=self._rules(key[0]), now_ms=now_ms, store=self._store())
        yield from self._finish(key[0], before, step, now_ms)

    def handleExpiredTimer(self, key: Any, timerValues: Any, expiredTimerInfo: Any) -> Iterator[pd.DataFrame]:
        now_ms = timerValues.getCurrentProcessingTimeInMs()
        before = self._load()
        step = wake(before, rules=self._rules(key[0]), now_ms=now_ms, store=self._store())
        yield from self._finish(key[0], before, step, now_ms)
        if key[0] not in self._catalogue.monitors and not step.progress.windows:
            self._forget(step.progress)

    def _store(self) -> StoredWindows:
        return StoredWindows(self._windows)

    def _load(self) -> Progress:
        stored = self._progress.get()
        return Progress() if stored is None else Progress.decode(bytes(stored[0]))

    def _finish(self, monitor: str, before: Progress, step: Step, now_ms: int) -> Iterator[pd.DataFrame]:
        told = self._told(monitor, step.progress, now_ms)
        progress = replace(step.progress, told_ms=now_ms) if told else step.progress
        self._progress.update((progress.encode(),))
        self._set_timer(before.wake_ms, step.progress.wake_ms)
        outputs = [*outputs_of(step, monitor, self._catalogue, StoredMemories(self._memories)), *told]
        if outputs:
            yield _frame(outputs)

    @staticmethod
    def _told(monitor: str, progress: Progress, now_ms: int) -> list[Output]:
        return [state_told(monitor, progress, now_ms)] if now_ms - progress.told_ms >= TOLD_MS else []

    def _set_timer(self, before_ms: int | None, wake_ms: int | None) -> None:
        """One look is due at a time: an earlier one takes the place of a later one."""
        if wake_ms is None or wake_ms == before_ms:
            return
        if before_ms is not None and wake_ms < before_ms:
            self._handle.deleteTimer(before_ms)
        self._handle.registerTimer(wake_ms)

    def _forget(self, progress: Progress) -> None:
        """A monitor that was removed leaves nothing behind. Its windows have been closed and accounted for."""
        if progress.wake_ms is not None:
            self._handle.deleteTimer(progress.wake_ms)
        for state in (self._progress, self._windows, self._memories):
            state.clear()

    def _rules(self, monitor: str) -> Windows:
        known = self._catalogue.monitors.get(monitor)
        return known.windows if known else UNKNOWN


def _dead_letters(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    reasons: Counter[str] = Counter()
    for frame in frames:
        reasons.update(frame["reason"])
        letters = frame[["topic", "key", "letter"]].rename(columns={"letter": "value"})
        letters.insert(0, "kind", DEAD_LETTER)
        letters["length"] = 0
        yield letters
    yield _frame(tally(reasons))


def _frame(outputs: Iterable[Output]) -> pd.DataFrame:
    return pd.DataFrame(list(map(PackedOutput.of, outputs)), columns=list(PackedOutput._fields))


def _tuple(key: WindowKey) -> tuple[str, str, int, int]:
    return (key.version, key.baseline, key.start_ms, key.end_ms)
