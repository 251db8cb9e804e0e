"""Files that are there as a whole or not at all, also after a loss of power."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

UNFINISHED: Final = ".new"


def write_durably(path: Path, fill: Callable[[BinaryIO], object]) -> int:
    """
    The file's size in bytes. What stood there before is replaced once the new content is on disk. Raises what `fill`
    does, and OSError; then the old content is still there.
    """
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")  # hidden: no reader takes it for a whole one
    try:
        with unfinished.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)
    return size


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
