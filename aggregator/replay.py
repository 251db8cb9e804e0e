"""
History judged by the streaming job's own steps, in order and with nothing late: messages are folded as they come, in
any order, and each monitor's windows are then taken one after the other.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

import orjson
import pyarrow as pa

from aggregator.catalogue import Catalogue
from aggregator.evaluate import Output, Stepped, outputs_of
from aggregator.fold import DEAD, fold_batch
from aggregator.progress import NOWHERE, Place, Progress, WindowKey
from aggregator.windows import SILENCE_MS, Part, Step, take, wake
from tidegauge.monitor import Windows

_COLUMNS: Final = "monitor, version, baseline, start_ms, end_ms, records, inside, sources, summary"


class FoldedHistory:
    """
    Summaries of messages, on disk until all have come: memory does not grow with the history. refused: messages that
    are of no use, by reason.
    """

    def __init__(self, directory: Path, catalogue: Catalogue, now_ms: int) -> None:
        self._catalogue, self._now_ms = catalogue, now_ms
        self.refused: Counter[str] = Counter()
        self._file = sqlite3.connect(directory / "history.db")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute(f"CREATE TABLE parts ({_COLUMNS})")

    def add(self, messages: pa.RecordBatch) -> None:
        """Columns topic, partition, offset, value, as the fold takes them."""
        rows = fold_batch(messages, self._catalogue, self._now_ms).to_pylist()
        self.refused.update(row["reason"] for row in rows if row["monitor"] == DEAD)
        named = _COLUMNS.split(", ")
        parts = [[row[name] for name in named] for row in rows if row["monitor"] != DEAD]
        self._file.executemany(f"INSERT INTO parts VALUES ({', '.join('?' * len(named))})", parts)  # noqa: S608

    def parts(self) -> Iterator[tuple[str, Part]]:
        """By monitor, then by the window's end."""
        self._file.execute("CREATE INDEX IF NOT EXISTS by_end ON parts (monitor, end_ms)")
        rows = self._file.execute(f"SELECT {_COLUMNS} FROM parts ORDER BY monitor, end_ms, rowid")  # noqa: S608
        for monitor, version, baseline, start_ms, end_ms, records, inside, sources, summary in rows:
            key = WindowKey(version, baseline, start_ms, end_ms)
            yield monitor, Part(key, summary, records, inside, orjson.loads(sources))

    def close(self) -> None:
        self._file.close()


def outputs_of_history(parts: Iterable[tuple[str, Part]], catalogue: Catalogue) -> Iterator[Output]:
    """parts: by monitor, then by the window's end, all of a monitor together. What the stream would have put out."""
    for monitor, of_monitor in groupby(parts, key=lambda item: item[0]):
        yield from _outputs_of_monitor(monitor, (part for _, part in of_monitor), catalogue)


def _outputs_of_monitor(monitor: str, parts: Iterable[Part], catalogue: Catalogue) -> Iterator[Output]:
    rules = replace(catalogue.monitors[monitor].windows, provisional_ms=0)
    memories, store = _Memories(), _Summaries()
    progress = Progress()
    for end_ms, of_window in groupby(parts, key=lambda part: part.key.end_ms):
        whole = map(_of_one_source, of_window)
        step = take(progress, whole, rules=rules, now_ms=end_ms, store=store)
        yield from outputs_of([Stepped(monitor, step, memories)], catalogue)
        progress = step.progress
    yield from outputs_of([Stepped(monitor, _ended(progress, rules, store), memories)], catalogue)


def _of_one_source(part: Part) -> Part:
    """All of a window comes at once, whichever partitions it was read from."""
    return replace(part, sources={"": max(part.sources.values(), default=part.key.start_ms)})


def _ended(progress: Progress, rules: Windows, store: _Summaries) -> Step:
    """As after a long silence."""
    now_ms = progress.checked_ms + 1
    silent_ms = SILENCE_MS + rules.watermark_ms + rules.duration_ms
    asked = replace(progress, silent_ms=silent_ms, checked_ms=now_ms, wake_ms=now_ms)
    return wake(asked, rules=rules, now_ms=now_ms, store=store)


class _Memories:
    """evaluate.Memories of one monitor."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bytes] = {}

    def get(self, version: str, baseline: str) -> bytes | None:
        return self._known.get((version, baseline))

    def put(self, version: str, baseline: str, memory: bytes) -> None:
        self._known[version, baseline] = memory


class _Summaries:
    """windows.Store of one monitor."""

    def __init__(self) -> None:
        self._known: dict[WindowKey, bytes] = {}

    def get(self, key: WindowKey) -> bytes:
        return self._known[key]

    def put(self, key: WindowKey, summary: bytes, *, settled: bool) -> Place:
        self._known[key] = summary
        return NOWHERE

    def remove(self, key: WindowKey) -> None:
        del self._known[key]
