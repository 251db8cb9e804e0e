"""
What a micro-batch puts out, on disk before the micro-batch counts as done, until every sink has taken it.

Entries are numbered files, in the order in which they were appended. Each sink has a cursor, the number of the last
entry that it has delivered, on disk as well; an entry is removed when all cursors have passed it. A micro-batch that is
run again after a crash is appended again, and an entry that was delivered without its cursor being moved is delivered
again: so sinks see everything at least once, and tell repetitions by the outputs' keys.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa

from aggregator.durable import UNFINISHED, write_durably
from aggregator.evaluate import Output
from aggregator.packed import PACKED, TOGETHER, Parcel

ENTRY_PARCELS: Final = 2_000
ENTRY_BYTES: Final = 16 << 20
"""Unpacked. One entry is in memory as a whole; a micro-batch that puts out more makes several."""

_SUFFIX: Final = ".arrow"
_CURSOR: Final = ".cursor"
_SCHEMA: Final = pa.schema(
    [
        ("kind", pa.string()),
        ("topic", pa.string()),
        ("key", pa.string()),
        ("value", pa.binary()),
        ("length", pa.int64()),
        ("contents", pa.string()),
    ]
)
_EARLIER: Final = {"length": 0, "contents": None}
"""What columns stand for that earlier versions did not write."""


@dataclass(frozen=True, slots=True)
class Entry:
    number: int
    outputs: tuple[Output, ...]


class Outbox:
    """
    kinds: which outputs it takes. maximum_bytes: with more on disk there is no room, and the stream has to wait.
    Thread-safe: one appends, and each sink has a thread of its own.
    """

    def __init__(self, directory: Path, kinds: Iterable[str], *, maximum_bytes: int) -> None:
        """Raises OSError."""
        self.kinds = frozenset(kinds)
        self.directory = directory
        self._maximum_bytes = maximum_bytes
        self._changed, self._reading = threading.Condition(), threading.Lock()
        self._latest: Entry | None = None
        self._cursors: dict[str, int] = {}
        directory.mkdir(parents=True, exist_ok=True)
        for unfinished in directory.glob(f".*{UNFINISHED}"):
            unfinished.unlink()
        self._sizes = {int(file.stem): file.stat().st_size for file in sorted(directory.glob(f"*{_SUFFIX}"))}
        known = [_read_cursor(file) for file in directory.glob(f"*{_CURSOR}")]
        self._last = max([0, *self._sizes, *known])

    def follow(self, sinks: Sequence[str]) -> None:
        """
        From now on these sinks deliver, each from where it was; one that is new begins with what is still there. Those
        that were left out hold nothing back any more. Raises OSError.
        """
        with self._changed:
            oldest = min(self._sizes, default=self._last + 1)
            for file in self.directory.glob(f"*{_CURSOR}"):
                if file.stem not in sinks:
                    file.unlink()
            self._cursors = {}
            for sink in sinks:
                file = self._cursor_file(sink)
                self._cursors[sink] = _read_cursor(file) if file.exists() else oldest - 1
            self._remove_passed()

    def append(self, parcels: Iterable[Parcel]) -> None:
        """All are on disk when it returns. Raises OSError; then some may be, and will come again with the rest."""
        if not self._cursors:
            return
        for chunk in _chunks(filter(self._takes, parcels)):
            number = self._last + 1
            size = write_durably(self._file(number), lambda file, chunk=chunk: _write(file, chunk))  # type: ignore[misc]
            with self._changed:
                self._last, self._sizes[number] = number, size
                self._changed.notify_all()

    def next(self, sink: str, *, within_s: float) -> Entry | None:
        """The first entry that the sink has not delivered, when there is one in time. Raises OSError."""
        with self._changed:
            self._changed.wait_for(lambda: self._first_for(sink) is not None, within_s)
            number = self._first_for(sink)
        return None if number is None else self._entry(number)

    def delivered(self, sink: str, number: int) -> None:
        """Raises OSError; then the entry will be delivered again, as it is when this sink does not deliver any more."""
        with self._changed:
            if sink in self._cursors:
                write_durably(self._cursor_file(sink), lambda file: file.write(str(number).encode()))
                self._cursors[sink] = number
                self._remove_passed()
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing changes on disk any more, whatever a sink's thread that hangs may still say."""
        with self._changed:
            self._cursors = {}

    def wait_for_room(self, *, within_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.size_bytes <= self._maximum_bytes, within_s)

    @property
    def size_bytes(self) -> int:
        return sum(list(self._sizes.values()))

    def waiting(self, sink: str) -> int:
        """How many entries the sink has not delivered."""
        with self._changed:
            cursor = self._cursors.get(sink, self._last)
            return sum(number > cursor for number in self._sizes)

    def _takes(self, parcel: Parcel) -> bool:
        return parcel.kind in self.kinds or (parcel.kind == TOGETHER and not PACKED.isdisjoint(self.kinds))

    def _entry(self, number: int) -> Entry:
        """Sinks that keep up with each other take the same entry one after the other: it is unpacked once."""
        with self._reading:
            if self._latest is None or self._latest.number != number:
                self._latest = Entry(number, tuple(one for one in _read(self._file(number)) if one.kind in self.kinds))
            return self._latest

    def _first_for(self, sink: str) -> int | None:
        cursor = self._cursors.get(sink, self._last)
        return min((number for number in self._sizes if number > cursor), default=None)

    def _remove_passed(self) -> None:
        passed = min(self._cursors.values(), default=self._last)
        for number in [number for number in self._sizes if number <= passed]:
            self._file(number).unlink(missing_ok=True)
            del self._sizes[number]

    def _file(self, number: int) -> Path:
        return self.directory / f"{number:016}{_SUFFIX}"

    def _cursor_file(self, sink: str) -> Path:
        return self.directory / f"{sink}{_CURSOR}"


def _read_cursor(file: Path) -> int:
    return int(file.read_text())


def _chunks(parcels: Iterable[Parcel]) -> Iterator[list[Parcel]]:
    chunk: list[Parcel] = []
    size = 0
    for parcel in parcels:
        length = parcel.length or len(parcel.value)
        if chunk and (len(chunk) == ENTRY_PARCELS or size + length > ENTRY_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(parcel)
        size += length
    if chunk:
        yield chunk


def _write(file: BinaryIO, parcels: Sequence[Parcel]) -> None:
    columns = [list(column) for column in zip(*parcels, strict=True)]
    batch = pa.record_batch(
        [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )
    with pa.ipc.new_file(file, _SCHEMA) as writer:  # what is long is compressed already
        writer.write_batch(batch)


def _read(file: Path) -> Iterator[Output]:
    with file.open("rb") as opened, pa.ipc.open_file(opened) as reader:
        columns = reader.read_all().to_pydict()
    for name, value in _EARLIER.items():
        columns.setdefault(name, [value] * len(columns["key"]))
    for parcel in map(Parcel, *(columns[name] for name in Parcel._fields)):
        yield from parcel.outputs()
