"""What one monitor's stream remembers between micro-batches beside the summaries, as versioned bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson

from tidegauge.windows import Window

STATE_VERSION: Final = 3


@dataclass(frozen=True, slots=True, order=True)
class WindowKey:
    """Names one window of one monitor."""

    version: str
    baseline: str
    start_ms: int
    end_ms: int

    @property
    def window(self) -> Window:
        return Window(self.start_ms, self.end_ms)


class Place(NamedTuple):
    """Where the store has a summary."""

    segment: int
    position: int


NOWHERE: Final = Place(0, 0)
"""Of a store that needs no more than a window's key."""


@dataclass(frozen=True, slots=True)
class Held:
    """
    A window whose summary is in the store, at `place`. inside: records and heartbeats within [start, end); a heartbeat
    on the end itself belongs to the account but is no life in the window. records: requests, those that came again left
    out.
    size_bytes: of the summary. closed: nothing more is waited for. revision: of its last report, None before the first.
    due_ms: clock at which a corrected report is due, None while there is nothing to correct.
    """

    inside: int = 0
    records: int = 0
    size_bytes: int = 0
    closed: bool = False
    revision: int | None = None
    due_ms: int | None = None
    place: Place = NOWHERE

    @property
    def settled(self) -> bool:
        """Reported, and nothing has come since."""
        return self.closed and self.due_ms is None


@dataclass(frozen=True, slots=True)
class Source:
    """One partition of a topic. latest_ms: latest event time read from it. seen_ms: clock at the last reading."""

    latest_ms: int
    seen_ms: int


@dataclass(frozen=True, slots=True)
class Worker:
    """One incarnation of one worker. first_ms, last_ms: of its heartbeats. ended: one of them was its final one."""

    first_ms: int
    last_ms: int
    ended: bool = False


def _values(kind: type, *, without: str = "") -> Callable[[Any], tuple[Any, ...]]:
    """Of a dataclass's fields, in order. dataclasses.astuple copies each value, which takes ten times as long."""
    return attrgetter(*(one.name for one in fields(kind) if one.name != without))


_HELD: Final = _values(Held, without="place")
_SOURCE: Final = _values(Source)
_WORKER: Final = _values(Worker)


@dataclass(frozen=True, slots=True)
class Progress:
    """
    latest_ms: latest event time seen. closed_until_ms: every window that ends there or before is closed, for good.
    silent_ms: how long nothing has come, as far as somebody listened; checked_ms: clock at the last look.
    late_records: requests that came too late to correct anything, ever. windows: those in the store, open ones and
    closed ones that may still be corrected. workers: by "replica/incarnation". wake_ms: when to look again.
    shown_ms: clock at the last provisional verdicts, told_ms: at the last account of the state.
    """

    latest_ms: int | None = None
    closed_until_ms: int = 0
    silent_ms: int = 0
    checked_ms: int = 0
    late_records: int = 0
    windows: Mapping[WindowKey, Held] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    workers: Mapping[str, Worker] = field(default_factory=dict)
    wake_ms: int | None = None
    shown_ms: int = 0
    told_ms: int = 0

    @property
    def has_open(self) -> bool:
        return any(not held.closed for held in self.windows.values())

    def encode(self) -> bytes:
        baselines = sorted({key.baseline for key in self.windows})
        at = {baseline: position for position, baseline in enumerate(baselines)}
        return orjson.dumps(
            {
                "v": STATE_VERSION,
                "latest_ms": self.latest_ms,
                "closed_until_ms": self.closed_until_ms,
                "silent_ms": self.silent_ms,
                "checked_ms": self.checked_ms,
                "late_records": self.late_records,
                "wake_ms": self.wake_ms,
                "shown_ms": self.shown_ms,
                "told_ms": self.told_ms,
                "baselines": baselines,
                "windows": [
                    [key.version, at[key.baseline], key.start_ms, key.end_ms, *held.place, *_HELD(held)]
                    for key, held in self.windows.items()
                ],
                "sources": {name: _SOURCE(source) for name, source in self.sources.items()},
                "workers": {name: _WORKER(worker) for name, worker in self.workers.items()},
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Progress:
        """Raises ValueError for the state of another version: the checkpoint is not this program's."""
        state = orjson.loads(data)
        version = state.pop("v", None)
        if version != STATE_VERSION:
            raise ValueError(f"checkpoint has window state of version {version!r}, this program reads {STATE_VERSION}")
        baselines = state.pop("baselines")
        windows = {
            WindowKey(name, baselines[at], start_ms, end_ms): Held(*(*held, Place(segment, position)))
            for name, at, start_ms, end_ms, segment, position, *held in state.pop("windows")
        }
        sources = {name: Source(*source) for name, source in state.pop("sources").items()}
        workers = {name: Worker(*worker) for name, worker in state.pop("workers").items()}
        return cls(**state, windows=windows, sources=sources, workers=workers)
