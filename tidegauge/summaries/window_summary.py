"""All that is known of one monitor in one window, mergeable, and its wire format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tidegauge.baseline import BaselineProfile
from tidegauge.errors import InvalidSummary
from tidegauge.records import Heartbeat, InferenceRecord
from tidegauge.summaries import SUMMARIES
from tidegauge.summaries.bin_counts import BinCounts
from tidegauge.summaries.moments import Moments
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.summaries.served_account import ServedAccount
from tidegauge.summaries.window_rows import WindowRows

MAGIC: Final = b"tgs1"
"""Format and version of the bytes; a reader refuses what it does not know rather than guess."""


@dataclass(frozen=True)
class WindowSummary:
    """One field for each entry of SUMMARIES."""

    requests: RequestCounts
    moments: Moments
    bins: BinCounts
    account: ServedAccount

    def merge(self, other: WindowSummary) -> WindowSummary:
        """Raises IncompatibleSummaries when the two are of different baselines."""
        return _assemble({name: getattr(self, name).merge(getattr(other, name)) for name in SUMMARIES})

    def encode(self) -> bytes:
        return MAGIC + orjson.dumps({name: getattr(self, name).to_state() for name in SUMMARIES})

    @classmethod
    def decode(cls, data: bytes) -> WindowSummary:
        """Raises InvalidSummary."""
        if data[: len(MAGIC)] != MAGIC:
            raise InvalidSummary(f"begins with {data[: len(MAGIC)]!r}, this reader knows {MAGIC!r}")
        try:
            states = orjson.loads(data[len(MAGIC) :])
            return _assemble({name: kind.from_state(states[name]) for name, kind in SUMMARIES.items()})
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidSummary(repr(error)) from error


def summarise(
    records: Sequence[InferenceRecord], heartbeats: Sequence[Heartbeat], profile: BaselineProfile
) -> WindowSummary:
    """The summary of these records and heartbeats, all of one monitor, baseline and window."""
    data = WindowRows.of(records, heartbeats, profile)
    return _assemble({name: kind.of(data) for name, kind in SUMMARIES.items()})


def _assemble(parts: dict[str, Any]) -> WindowSummary:
    return WindowSummary(**parts)
