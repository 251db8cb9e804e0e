"""The drift tests that decide. A new one is a function of the same shape and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from tidegauge.drift.jensen_shannon import jensen_shannon
from tidegauge.drift.location import location
from tidegauge.drift.results import DriftResult
from tidegauge.drift.window_bins import AlarmLevel, WindowBins

DriftTest: TypeAlias = Callable[[WindowBins, AlarmLevel], DriftResult]

DRIFT_TESTS: Final[Mapping[str, DriftTest]] = {
    "jensen_shannon": jensen_shannon,
    "location": location,
}
