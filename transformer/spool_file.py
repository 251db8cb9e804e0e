"""
Messages on disk in order: one SQLite file of one process, which it has to itself while it lives.

A killed process leaves a whole file: what was written stays, and the next process takes the file up. A loss of power
may take the last seconds with it. Every call may wait for the disk, so none is made on the event loop.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

RECORD: Final = 0
COPY: Final = 1
"""Of a flagged record, for the outliers topic."""
HEARTBEAT: Final = 2

SUFFIX: Final = ".spool"
DAMAGED_SUFFIX: Final = ".damaged"

_LAYOUT: Final = 1
_PAGE_BYTES: Final = 4096


class Message(NamedTuple):
    """kind: RECORD, COPY or HEARTBEAT."""

    kind: int
    key: str
    value: bytes


class Numbered(NamedTuple):
    number: int
    message: Message


class SpoolFull(Exception):
    """The file is at its bound, or the disk is full. Nothing of what was to be added is in it."""


class SpoolDamaged(Exception):
    """The file cannot be read or written."""


class SpoolInUse(Exception):
    """Another process has it."""


class SpoolFile:
    """
    records: how many of the messages in it are records. unread: how many messages `next` has not given yet. used_bytes:
    what messages take up; pages that removed ones left are used again. All three may be read from any thread.
    """

    def __init__(self, path: Path, *, maximum_bytes: int) -> None:
        """Opens what is there, or makes it. Raises SpoolInUse, SpoolDamaged."""
        self.path = path
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            first, last = self._prepare(maximum_bytes)
            self.records, self.unread = self._counts()
            self.used_bytes = self._used()
        except sqlite3.Error as error:
            raise (SpoolInUse if _is_locked(error) else SpoolDamaged)(f"{path}: {error}") from error
        self._before, self._after = first - 1, last + 1
        self._read = self._before

    def append(self, messages: Sequence[Message]) -> None:
        """All or none. Raises SpoolFull, SpoolDamaged."""
        self._insert(range(self._after, self._after + len(messages)), messages)
        self._after += len(messages)
        self.unread += len(messages)

    def put_first(self, messages: Sequence[Message]) -> None:
        """Before all others, in their order, not to be read any more; all or none. Raises SpoolFull, SpoolDamaged."""
        self._insert(range(self._before - len(messages) + 1, self._before + 1), messages)
        self._before -= len(messages)

    def next(self, *, count: int, size_bytes: int) -> list[Numbered]:
        """Those after the last that was read: at most `count`, and no more once they have that size. SpoolDamaged."""
        taken: list[Numbered] = []
        size = 0
        try:
            rows = self._connection.execute(
                "SELECT number, kind, key, value FROM messages WHERE number > ? ORDER BY number LIMIT ?",
                (self._read, count),
            )
            with contextlib.closing(rows):
                for number, kind, key, value in rows:
                    taken.append(Numbered(number, Message(kind, key, value)))
                    size += len(value)
                    if size >= size_bytes:
                        break
        except sqlite3.Error as error:
            raise SpoolDamaged(f"{self.path}: {error}") from error
        if taken:
            self._read = taken[-1].number
            self.unread -= len(taken)
        return taken

    def remove(self, taken: Sequence[Numbered]) -> None:
        """Raises SpoolDamaged; then they come again when the file is next taken up."""
        self._change("DELETE FROM messages WHERE number = ?", [(number,) for number, _ in taken])
        self.records -= sum(message.kind == RECORD for _, message in taken)

    def is_empty(self) -> bool:
        return self._connection.execute("SELECT 1 FROM messages LIMIT 1").fetchone() is None

    def close(self) -> None:
        """An empty file is removed."""
        with contextlib.suppress(sqlite3.Error):
            empty = self.is_empty()
            self._connection.close()
            if empty:
                for file in (self.path, *(self.path.with_name(self.path.name + end) for end in ("-wal", "-shm"))):
                    file.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Of a damaged file: nobody takes it up any more, and what can be read of it is there for people."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        return set_aside(self.path)

    def _prepare(self, maximum_bytes: int) -> tuple[int, int]:
        """First and last number."""
        execute = self._connection.execute
        execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        execute("PRAGMA locking_mode = EXCLUSIVE")  # until the process ends, however it does
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute(f"PRAGMA max_page_count = {max(maximum_bytes // _PAGE_BYTES, 4)}")
        execute("BEGIN IMMEDIATE")
        execute("CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, kind INTEGER, key TEXT, value BLOB)")
        layout = self._pragma("user_version")
        if layout not in (0, _LAYOUT):
            raise sqlite3.DatabaseError(f"layout {layout}: written by a later version")
        execute(f"PRAGMA user_version = {_LAYOUT}")
        first, last = execute("SELECT ifnull(min(number), 1), ifnull(max(number), 0) FROM messages").fetchone()
        execute("COMMIT")
        return first, last

    def _insert(self, numbers: range, messages: Sequence[Message]) -> None:
        rows = [(number, *message) for number, message in zip(numbers, messages, strict=True)]
        self._change("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
        self.records += sum(message.kind == RECORD for message in messages)

    def _change(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise (SpoolFull if _is_full(error) else SpoolDamaged)(f"{self.path}: {error}") from error
        self.used_bytes = self._used()

    def _counts(self) -> tuple[int, int]:
        """Records, messages."""
        counted = "SELECT count(*) FILTER (WHERE kind = ?), count(*) FROM messages"
        records, messages = self._connection.execute(counted, (RECORD,)).fetchone()
        return records, messages

    def _used(self) -> int:
        return (self._pragma("page_count") - self._pragma("freelist_count")) * _PAGE_BYTES

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])


def set_aside(path: Path) -> Path:
    """Renames a file that nobody can read; its new name. Raises OSError."""
    aside = path.with_suffix(DAMAGED_SUFFIX)
    os.replace(path, aside)
    return aside


def _is_locked(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
