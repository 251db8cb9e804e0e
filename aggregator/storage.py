"""
Where the state of a shard is kept: its own entry, which each step replaces, and segments, which are written once.

The aggregator keeps both in files of its checkpoint, and Spark's state says no more than which file is the shard's. Of
bytes that it is given Spark makes a message, an object, a row and an entry of RocksDB, and a change's log on top, each
in the JVM: for the windows of a hundred monitors that takes longer than to merge them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

from aggregator.entries import Entries
from aggregator.errors import StateLost

SHARD: Final = "shard"
"""Name of the one entry of Spark's state that is always there."""


class Storage(Protocol):
    """Of one shard, during one step."""

    def load(self) -> bytes | None:
        """The shard's own entry; None where there is none yet."""

    def get(self, name: str) -> bytes:
        """A segment."""

    def put(self, number: int, segment: bytes, *, settled: bool) -> str:
        """number: of this shard, never used before. settled: will hardly be asked for. Gives the segment's name."""

    def save(self, shard: bytes, *, names: Collection[str], wanted: Collection[str]) -> None:
        """
        The shard's own entry, at the end. names: of all segments that were wanted before the step or are new; wanted:
        of those that still are.
        """


class InState:
    """All of it in Spark's state: for queries that tell nobody where their checkpoint is."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    def load(self) -> bytes | None:
        return self._entries.get(SHARD)

    def get(self, name: str) -> bytes:
        stored = self._entries.get(name)
        if stored is None:
            raise StateLost(f"{name} is not in Spark's state")
        return stored

    def put(self, number: int, segment: bytes, *, settled: bool) -> str:
        name = f"segment/{number}"
        put = self._entries.put_away if settled else self._entries.put
        put(name, segment)
        return name

    def save(self, shard: bytes, *, names: Collection[str], wanted: Collection[str]) -> None:
        for name in set(names).difference(wanted):
            self._entries.remove(name)
        self._entries.put(SHARD, shard)


class InFiles:
    """
    Each in a file, named by the micro-batch that wrote it and a token, so that no two attempts at a micro-batch write
    the same one. What Spark's state does not name has no meaning: a micro-batch that is run again finds the state that
    it began with, and the files which that names. So a file goes only when a later micro-batch is on its way and
    nothing names it, and none of the last micro-batch goes: a second attempt may have been the one that counts.

    Files are as safe from a loss of power as Spark's own in the checkpoint: they are not forced to the disk either.
    """

    def __init__(self, entries: Entries, directory: Path, batch: int) -> None:
        """directory: of this shard. batch: number of the micro-batch under way; they only rise."""
        self._entries, self._directory, self._batch = entries, directory, batch
        self._loaded: str | None = None

    def load(self) -> bytes | None:
        name = self._entries.get(SHARD)
        if name is None:
            return None
        self._loaded = name.decode()
        return self.get(self._loaded)

    def get(self, name: str) -> bytes:
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            raise StateLost(
                f"{self._directory / name} is gone, which the checkpoint needs: bring it back, or start with an empty"
                " --checkpoint directory"
            ) from None

    def put(self, number: int, segment: bytes, *, settled: bool) -> str:
        return self._write(segment)

    def save(self, shard: bytes, *, names: Collection[str], wanted: Collection[str]) -> None:
        self._entries.put(SHARD, self._write(shard).encode())
        if self._loaded is not None and _batch_of(self._loaded) < self._batch:
            # Those that are wanted no longer are, should this micro-batch be run again.
            self._sweep({self._loaded, *names}, before=_batch_of(self._loaded))

    def _write(self, data: bytes) -> str:
        name = f"{self._batch}-{uuid4().hex}"
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / name).open("xb") as file:
            file.write(data)
        return name

    def _sweep(self, kept: Collection[str], before: int) -> None:
        """Removes other files of micro-batches before that one."""
        for file in self._directory.iterdir():
            if _batch_of(file.name) < before and file.name not in kept:
                with contextlib.suppress(FileNotFoundError):  # another attempt was quicker
                    file.unlink()


def _batch_of(name: str) -> int:
    return int(name.partition("-")[0])
