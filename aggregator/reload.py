"""Notices when monitor files or baselines have changed, so that the query can go on with what they say now."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from aggregator.errors import StartError
from aggregator.settings import Settings, parse_settings

log = logging.getLogger("aggregator")

CHECK_S: Final = 2.0

UNSETTLED_NS: Final = 1_000_000_000
"""File systems' clocks tick coarsely: what changed so shortly before a look may change again with the same stamp."""

_Stamps: TypeAlias = dict[Path, tuple[int, int] | None]


class MonitorFiles:
    """Files that cannot be used are told of once and change nothing."""

    def __init__(self, arguments: Sequence[str], settings: Settings) -> None:
        self._arguments = arguments
        self._settings = settings
        self._stamps: _Stamps = dict.fromkeys(settings.files)
        """As they were before the files were last read; None: not known, so they are to be read again."""
        self._told = ""
        self._looked_s = time.monotonic()

    def changed(self) -> Settings | None:
        """New settings when the monitors have changed since the last ones; looks at the files now and then."""
        if time.monotonic() - self._looked_s < CHECK_S:
            return None
        self._looked_s = time.monotonic()
        now_ns = time.time_ns()
        stamps = _stamps(self._stamps)
        if stamps == self._stamps:
            return None
        self._stamps = stamps
        try:
            settings = parse_settings(self._arguments)
        except StartError as error:
            self._tell(f"monitors_unusable going on with those before: {error}")
            return None
        # What changes while it is read, or before it was known of, is seen at the next look.
        self._stamps = {file: _settled(stamps.get(file), now_ns) for file in settings.files}
        if (settings.brokers, settings.store) != (self._settings.brokers, self._settings.store):
            self._tell("restart_needed spec.kafka or spec.aggregator.store has changed")
            return None
        self._told = ""
        if settings.catalogue == self._settings.catalogue:
            return None
        self._settings = settings
        return settings

    def _tell(self, what: str) -> None:
        if what != self._told:
            log.error("%s", what)
        self._told = what


def _stamps(files: Iterable[Path]) -> _Stamps:
    return {file: _stamp(file) for file in files}


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _settled(stamp: tuple[int, int] | None, now_ns: int) -> tuple[int, int] | None:
    return stamp if stamp and stamp[0] < now_ns - UNSETTLED_NS else None
