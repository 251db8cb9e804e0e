"""Notices when monitor files or baselines have changed, so that the query can go on with what they say now."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from aggregator.errors import StartError
from aggregator.settings import Settings, parse_settings

log = logging.getLogger("aggregator")

CHECK_S: Final = 2.0

_Stamps: TypeAlias = dict[Path, tuple[int, int] | None]


class MonitorFiles:
    """Files that cannot be used are told of once and change nothing."""

    def __init__(self, arguments: Sequence[str], settings: Settings) -> None:
        self._arguments = arguments
        self._settings = settings
        self._stamps = _stamps(settings.files)
        self._looked_s = time.monotonic()

    def changed(self) -> Settings | None:
        """New settings when the monitors have changed since the last ones; looks at the files now and then."""
        if time.monotonic() - self._looked_s < CHECK_S:
            return None
        self._looked_s = time.monotonic()
        stamps = _stamps(self._settings.files)
        if stamps == self._stamps:
            return None
        self._stamps = stamps
        try:
            settings = parse_settings(self._arguments)
        except StartError as error:
            log.error("monitors_unusable going on with those before: %s", error)
            return None
        if (settings.brokers, settings.store) != (self._settings.brokers, self._settings.store):
            log.error("restart_needed spec.kafka or spec.aggregator.store has changed")
            return None
        if settings.catalogue == self._settings.catalogue:
            return None
        self._settings, self._stamps = settings, _stamps(settings.files)
        return settings


def _stamps(files: Sequence[Path]) -> _Stamps:
    return {file: _stamp(file) for file in files}


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
