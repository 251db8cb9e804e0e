"""
The spool of one process: what Kafka does not take now, written and read on a thread of its own, so that a slow disk
makes no request wait.

Files of processes that are no more come first. They have a lock that ends with its process, so nobody takes up the file
of one that lives.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from transformer.capture import Ledger
from transformer.spool_file import (
    RECORD,
    SUFFIX,
    Message,
    Numbered,
    SpoolDamaged,
    SpoolFile,
    SpoolFull,
    SpoolInUse,
    set_aside,
)

CHUNK_MESSAGES: Final = 1_000
CHUNK_BYTES: Final = 4 << 20
PENDING_BYTES: Final = 32 << 20
"""With so much waiting to be written, the disk is too slow to be waited for."""
LOG_INTERVAL_S: Final = 30.0

_log = logging.getLogger("transformer.spool")


@dataclass(eq=False)
class Chunk:
    """
    Messages that were read and are under way to Kafka. They stay in their file until they have ended there. inherited:
    from another process, which has accounted for them.
    """

    file: SpoolFile
    inherited: bool
    messages: list[Numbered]
    ended: list[Numbered] = field(default_factory=list)


class Spool:
    """What becomes of records that are ours is told to the ledger, from the event loop."""

    def __init__(
        self,
        directory: Path,
        *,
        own: str,
        maximum_bytes: int,
        ledger: Ledger,
    ) -> None:
        """own: a name that no other process has. Raises OSError, SpoolDamaged."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._name, self._maximum_bytes = directory, own, maximum_bytes
        self._ledger = ledger
        self._thread = ThreadPoolExecutor(1, "spool")
        self._pending: list[Message] = []
        self._pending_bytes = 0
        self._writing = self.reading = False
        self._work: set[asyncio.Task[None]] = set()
        self._logged_s = -LOG_INTERVAL_S
        self.damaged = 0
        """Files set aside."""
        self._inherited = self._take_up(sorted(directory.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime_ns))
        self._own = self._new_file()

    @property
    def records(self) -> int:
        """In the files, also those under way to Kafka."""
        return sum(file.records for file in self._files)

    @property
    def used_bytes(self) -> int:
        return sum(file.used_bytes for file in self._files)

    @property
    def has_unread(self) -> bool:
        return any(file.unread for file in self._files)

    @property
    def is_settled(self) -> bool:
        """Nothing is being written, read or removed."""
        return not self._work

    def keep(self, message: Message) -> None:
        """After all others."""
        if self._pending_bytes > PENDING_BYTES or self.used_bytes + self._pending_bytes > self._maximum_bytes:
            if message.kind == RECORD:
                self._ledger.drop("spool_full")
            return
        self._pending.append(message)
        self._pending_bytes += len(message.value)
        if not self._writing:
            self._writing = True
            self._begin(self._write())

    def read(self, taken: Callable[[Chunk], None]) -> None:
        """Not while another reading is under way. Nothing is taken where nothing is unread, or a file is damaged."""
        file = next((file for file in self._files if file.unread), None)
        if file is not None:
            self.reading = True
            self._begin(self._read(file, taken))

    async def put_back(self, file: SpoolFile | None, messages: Sequence[Message]) -> None:
        """
        Before all others of the file, ours where there is none, in their order: for the next process. The ledger is not
        told. Raises SpoolFull, SpoolDamaged.
        """
        await self._do((file or self._own).put_first, messages)

    def remove(self, chunk: Chunk) -> None:
        """What has ended of it. An inherited file without more messages is removed."""
        self._begin(self._remove(chunk))

    async def _remove(self, chunk: Chunk) -> None:
        ended, chunk.ended = chunk.ended, []
        try:
            await self._do(chunk.file.remove, ended)
        except SpoolDamaged as error:
            _log.warning("spool_not_removed why=%s (these messages will be sent again)", error)
        if chunk.file in self._inherited and await self._do(chunk.file.is_empty):
            self._inherited.remove(chunk.file)
            await self._do(chunk.file.close)

    async def close(self) -> None:
        """Waits until everything is written. What is in the files waits for the next process."""
        while not self.is_settled:
            await asyncio.sleep(0.005)
        _log.info("spool_closed records=%d bytes=%d", self.records, self.used_bytes)
        for file in self._files:
            await self._do(file.close)
        self._thread.shutdown()

    @property
    def _files(self) -> list[SpoolFile]:
        return [*self._inherited, self._own]

    async def _write(self) -> None:
        while self._pending:
            messages, self._pending, self._pending_bytes = self._pending, [], 0
            try:
                await self._do(self._own.append, messages)
            except (SpoolFull, SpoolDamaged) as error:
                self._lose(messages, error)
            else:
                self._ledger.spool(_records(messages))
        self._writing = False

    async def _read(self, file: SpoolFile, taken: Callable[[Chunk], None]) -> None:
        messages: list[Numbered] = []
        try:
            messages = await self._do(lambda: file.next(count=CHUNK_MESSAGES, size_bytes=CHUNK_BYTES))
        except SpoolDamaged as error:
            await self._abandon(file, error)
        self.reading = False
        if messages:
            taken(Chunk(file, file in self._inherited, messages))

    def _lose(self, messages: Iterable[Message], error: Exception) -> None:
        reason = "spool_full" if isinstance(error, SpoolFull) else "spool_failed"
        now = time.monotonic()
        if now - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = now
            _log.warning("not_spooled reason=%s why=%s (said once in %.0f s)", reason, error, LOG_INTERVAL_S)
        self._ledger.drop(reason, _records(messages))

    async def _abandon(self, file: SpoolFile, error: Exception) -> None:
        aside = await self._do(file.set_aside)
        self.damaged += 1
        _log.error("spool_damaged records=%d kept_as=%s why=%s", file.records, aside, error)
        if file is self._own:
            self._ledger.lose_spool()
            self._own = self._new_file()
        else:
            self._inherited.remove(file)

    def _take_up(self, paths: Iterable[Path]) -> list[SpoolFile]:
        files = []
        for path in paths:
            try:
                file = SpoolFile(path, maximum_bytes=self._maximum_bytes)
            except SpoolInUse:
                continue
            except SpoolDamaged as error:
                self.damaged += 1
                _log.error("spool_damaged kept_as=%s why=%s", set_aside(path), error)
                continue
            if file.is_empty():
                file.close()
                continue
            _log.info("spool_taken_up file=%s records=%d bytes=%d", path.name, file.records, file.used_bytes)
            files.append(file)
        return files

    def _new_file(self) -> SpoolFile:
        for number in count(1):
            path = self._directory / f"{self._name}-{number}{SUFFIX}"
            try:
                if not path.exists():
                    return SpoolFile(path, maximum_bytes=self._maximum_bytes)
            except SpoolInUse:  # another process has just found it and looks whether it is left over
                continue
        raise AssertionError("there is no last number")

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _do(self, work: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _records(messages: Iterable[Message]) -> int:
    return sum(message.kind == RECORD for message in messages)
