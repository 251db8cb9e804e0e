"""
Workers' numbers put together, so that Prometheus gets the same answer from whichever worker it meets.

Each worker writes its numbers to a file of a directory that they share, every second and at its end. What a worker
that is no more has counted stays counted. If it was killed, what it had in flight is told as unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson

from transformer.metrics import GAUGES, Snapshot

DIRECTORY_VARIABLE: Final = "TIDEGAUGE_WORKERS_DIRECTORY"
"""Set by the process that starts the workers, for them."""
WRITE_EACH_S: Final = 1.0
_MEMORY: Final = "/dev/shm"  # noqa: S108 - the directory itself gets a name nobody can foresee

_IN_FLIGHT: Final = "tidegauge_records_in_flight"
_SPOOLED: Final = "tidegauge_records_spooled"

_log = logging.getLogger("transformer.workers")


@contextlib.contextmanager
def shared_directory() -> Iterator[str | None]:
    """In memory where that can be, since a container's file system is often read-only; None where nothing can be."""
    with contextlib.ExitStack() as stack:
        directory = None
        for parent in (_MEMORY, None):
            with contextlib.suppress(OSError):
                directory = stack.enter_context(TemporaryDirectory(prefix="tidegauge-workers-", dir=parent))
                break
        else:
            _log.warning("numbers_not_shared why=no directory can be written (each worker answers for itself)")
        yield directory


class SharedNumbers:
    """snapshot: this worker's numbers."""

    def __init__(self, directory: Path, snapshot: Callable[[], Snapshot]) -> None:
        self._directory, self._snapshot = directory, snapshot
        self._file = directory / f"{os.getpid()}.json"
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = self._loop.call_later(WRITE_EACH_S, self.start)
        self._write()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._write()

    def together(self, own: Snapshot) -> Snapshot:
        """own: this worker's numbers now; those of the others are at most a second old."""
        summed = {name: dict(values) for name, values in own.items()}
        for file in self._directory.glob("*.json"):
            if file != self._file and (numbers := _read(file)) is not None:
                _add(summed, numbers if _is_alive(int(file.stem)) else _left_by(numbers))
        return summed

    def _write(self) -> None:
        unfinished = self._file.with_suffix(".new")
        try:
            unfinished.write_bytes(orjson.dumps(self._snapshot()))
            os.replace(unfinished, self._file)
        except OSError as error:
            _log.warning("numbers_not_shared file=%s why=%s", self._file, error.strerror)


def _read(file: Path) -> Snapshot | None:
    with contextlib.suppress(OSError, orjson.JSONDecodeError):
        numbers: Snapshot = orjson.loads(file.read_bytes())
        return numbers
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _left_by(numbers: Snapshot) -> Snapshot:
    """What stays of a worker that has ended: what it counted."""
    left = {name: values for name, values in numbers.items() if name not in GAUGES}
    of_ended = {"unknown|": numbers[_IN_FLIGHT][""], "left_on_disk|": numbers[_SPOOLED][""]}
    return left | {"tidegauge_records": left["tidegauge_records"] | of_ended}


def _add(summed: Snapshot, numbers: Snapshot) -> None:
    for name, values in numbers.items():
        family = summed.setdefault(name, {})
        for labels, number in values.items():
            family[labels] = family.get(labels, 0) + number
