"""
What the state asks of Spark for a shard of monitors. A stand-in for Spark's handle, since the clock would have to run
for an hour; test_job.py has the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pandas as pd
import pytest

from aggregator import state
from aggregator.entries import Entries
from aggregator.fold import fold_batch
from aggregator.packed import Parcel
from aggregator.progress import Progress
from aggregator.shards import Shard
from aggregator.state import WindowProcessor
from aggregator.storage import InFiles, InState
from aggregator.windows import CHECK_MS, CORRECTION_MS
from tests.aggregator.doors import NOW_MS, START_MS, Message, arrow_of, catalogue, heartbeat, record, traffic


class Table:
    def __init__(self) -> None:
        self.rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def getValue(self, key: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return self.rows.get(key)

    def updateValue(self, key: tuple[Any, ...], value: tuple[Any, ...]) -> None:
        self.rows[key] = value

    def removeKey(self, key: tuple[Any, ...]) -> None:
        del self.rows[key]

    def keys(self) -> Iterator[tuple[Any, ...]]:
        return iter(list(self.rows))


class Handle:
    """Keeps what a shard's state holds, and its timers; one that is deleted must be there."""

    def __init__(self) -> None:
        self.states: dict[str, Any] = {}
        self.timers: set[int] = set()

    def getMapState(self, name: str, _key: str, _value: str) -> Table:
        return self.states.setdefault(name, Table())  # type: ignore[no-any-return]

    def registerTimer(self, at_ms: int) -> None:
        self.timers.add(at_ms)

    def deleteTimer(self, at_ms: int) -> None:
        self.timers.remove(at_ms)


class Run:
    """directory: None to keep all in Spark's state. Each look at the shard is a micro-batch of its own."""

    def __init__(self, directory: Path | None) -> None:
        self.handle, self._directory, self.batches = Handle(), directory, count()
        self.configure("doors", "gates")

    def configure(self, *monitors: str) -> None:
        self.processor = WindowProcessor(catalogue(*monitors), self._directory)
        self.processor.init(self.handle)

    def take(self, *messages: Message, now_ms: int = NOW_MS) -> list[tuple[str, dict[str, Any]]]:
        frame = fold_batch(arrow_of(messages), catalogue("doors", "gates"), NOW_MS).to_pandas()
        return told(self.processor.handleInputRows(("0",), iter([frame]), clock(now_ms)))

    def fire(self) -> list[tuple[str, dict[str, Any]]]:
        """The earliest timer, which is gone then."""
        due_ms = min(self.handle.timers)
        self.handle.timers.remove(due_ms)
        return told(self.processor.handleExpiredTimer(("0",), clock(due_ms), None))

    def progress(self, monitor: str) -> Progress:
        return self._shard().get(monitor)

    def kept_windows(self) -> int:
        shard = self._shard()
        memories = sum(map(len, shard.memories.values()))
        return sum(segment.wanted for segment in shard.segments.segments.values()) - memories

    def _shard(self) -> Shard:
        (table,) = self.handle.states.values()
        entries = Entries(table)
        if self._directory is None:
            return Shard(InState(entries).load())
        return Shard(InFiles(entries, self._directory / "0", batch=0).load())

    def remembered(self) -> set[str]:
        """Monitors of which a memory is kept."""
        return set(self._shard().memories)


def clock(now_ms: int) -> Any:
    return SimpleNamespace(getCurrentProcessingTimeInMs=lambda: now_ms)


def told(frames: Iterator[pd.DataFrame]) -> list[tuple[str, dict[str, Any]]]:
    rows = [Parcel(*row) for frame in frames for row in frame.itertuples(index=False)]
    return [(output.kind, orjson.loads(output.value)) for row in rows for output in row.outputs()]


@pytest.fixture(params=["state", "files"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    run = Run(tmp_path if request.param == "files" else None)
    monkeypatch.setattr(state, "micro_batch", lambda: next(run.batches))
    return run


def test_one_look_is_due_at_a_time_and_the_earlier_takes_the_place_of_the_later(run: Run) -> None:
    run.take(record(1_000))
    assert run.handle.timers == {NOW_MS + CHECK_MS}
    run.take(heartbeat(7_000), now_ms=NOW_MS + 10)
    assert run.handle.timers == {NOW_MS + CHECK_MS}
    run.fire()
    assert len(run.handle.timers) == 1


def test_what_the_state_holds_is_told_now_and_then(run: Run) -> None:
    assert [kind for kind, _ in run.take(record(1_000), now_ms=START_MS + 1_000)] == ["state", "provisional"]
    assert run.take(record(1_001), now_ms=START_MS + 2_000) == []


def test_a_corrected_report_comes_by_a_timer(run: Run) -> None:
    run.take(record(1_000), heartbeat(7_000))
    run.take(record(2_000), now_ms=NOW_MS + 1)
    found: list[tuple[str, dict[str, Any]]] = []
    while not any(kind == "report" for kind, _ in found):
        assert min(run.handle.timers) <= NOW_MS + 1 + CORRECTION_MS
        found += run.fire()
    assert [document["revision"] for kind, document in found if kind == "report"] == [1]


def test_a_monitor_that_was_removed_accounts_for_its_windows_and_leaves_nothing(run: Run) -> None:
    run.take(record(1_000), heartbeat(7_000), record(8_000))
    run.take(record(1_000, monitor="gates"), heartbeat(7_000, monitor="gates"))
    assert run.remembered() == {"doors", "gates"}
    run.configure("gates")
    found = []
    while run.progress("doors") != Progress():
        found += run.fire()
    assert [(kind, document["reason"]) for kind, document in found if kind == "late"] == [
        ("late", "window_without_baseline")
    ]
    assert run.kept_windows() == len(run.progress("gates").windows)
    assert run.remembered() == {"gates"}
    assert min(run.handle.timers) == run.progress("gates").wake_ms


def test_a_monitor_that_stays_is_kept_in_mind_when_nothing_comes(run: Run) -> None:
    run.take(record(1_000))
    for _ in range(60):
        run.fire()
    assert run.kept_windows() == 0
    assert run.remembered() == {"doors"}
    assert run.progress("doors").wake_ms == min(run.handle.timers)


def test_monitors_of_a_shard_are_looked_at_each_in_its_time(run: Run) -> None:
    """One timer for both: the other's turn comes with the next."""
    run.take(record(1_000))
    run.take(record(1_000, monitor="gates"), now_ms=NOW_MS + 300)
    assert run.handle.timers == {NOW_MS + CHECK_MS}
    run.fire()
    assert run.progress("doors").checked_ms == NOW_MS + CHECK_MS
    assert run.progress("gates").checked_ms == NOW_MS + 300
    assert run.handle.timers == {NOW_MS + 300 + CHECK_MS}
    run.fire()
    assert run.progress("gates").checked_ms == NOW_MS + 300 + CHECK_MS


def test_many_outputs_are_handed_over_in_several_frames(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "FRAME_PARCELS", 4)
    frame = fold_batch(arrow_of([*traffic(20), heartbeat(40_000)]), catalogue(), NOW_MS).to_pandas()
    frames = list(run.processor.handleInputRows(("0",), iter([frame]), clock(NOW_MS)))
    assert [len(one) for one in frames[:-1]] == [4] * (len(frames) - 1)
    kinds = [kind for kind, _ in told(iter(frames))]
    assert (kinds.count("report"), kinds.count("drift"), kinds.count("state"), len(frames)) == (5, 5, 1, 2)
