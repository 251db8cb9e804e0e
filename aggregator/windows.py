"""
One monitor's open windows and event time: what a micro-batch of summaries, or silence, opens, closes or finds closed.

Event time is the latest time seen of this monitor, of records and heartbeats alike; other monitors' clocks do not touch
it. A window closes when event time passes its end by the watermark. Rows of one step are all held against the event
time from before it, so within a step their order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import orjson

from tidegauge.summaries.window_summary import WindowSummary
from tidegauge.windows import Window

SILENCE_MS: Final = 5_000
"""
How long, beyond the watermark, nothing at all must come before time is taken to pass without data. A transformer that
lives sends a heartbeat a second, so five missing ones are no hiccup.
"""

CHECK_MS: Final = 1_000
"""How often silence is looked at."""

MAXIMUM_CREDIT_MS: Final = 2 * CHECK_MS
"""
Most silence that one look may add. After a stop or an outage of the broker the clock has moved on, but nobody listened:
what was sent meanwhile is still to come and must find its windows open.
"""

STATE_VERSION: Final = 1


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


@dataclass(frozen=True, slots=True)
class Part:
    """
    What one fold knows of a window. records: requests in it. inside: records and heartbeats within [start, end);
    a heartbeat on the end itself belongs to the account but is no life in the window. latest_ms: latest event time.
    """

    key: WindowKey
    summary: bytes
    records: int
    inside: int
    latest_ms: int


@dataclass(frozen=True, slots=True)
class Progress:
    """
    latest_ms: latest event time seen. closed_until_ms: every window that ends there or before is closed, for good.
    silent_ms: how long nothing has come, as far as somebody listened; checked_ms: clock at the last look.
    late_records: requests that came too late, ever. open: the windows in the store, with their Part.inside.
    wake_ms: when to look at the silence next; None while no window is open.
    """

    latest_ms: int | None = None
    closed_until_ms: int = 0
    silent_ms: int = 0
    checked_ms: int = 0
    late_records: int = 0
    open: Mapping[WindowKey, int] = field(default_factory=dict)
    wake_ms: int | None = None

    def encode(self) -> bytes:
        opened = [[key.version, key.baseline, key.start_ms, key.end_ms, inside] for key, inside in self.open.items()]
        return orjson.dumps(
            {
                "v": STATE_VERSION,
                "latest_ms": self.latest_ms,
                "closed_until_ms": self.closed_until_ms,
                "silent_ms": self.silent_ms,
                "checked_ms": self.checked_ms,
                "late_records": self.late_records,
                "open": opened,
                "wake_ms": self.wake_ms,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Progress:
        """Raises ValueError for the state of another version: the checkpoint is not this program's."""
        state = orjson.loads(data)
        if (version := state.pop("v", None)) != STATE_VERSION:
            raise ValueError(f"checkpoint has window state of version {version!r}, this program reads {STATE_VERSION}")
        opened = {WindowKey(*key): inside for *key, inside in state.pop("open")}
        return cls(**state, open=opened)


@dataclass(frozen=True, slots=True)
class Closed:
    key: WindowKey
    summary: WindowSummary


@dataclass(frozen=True, slots=True)
class Late:
    """Requests whose window was closed already."""

    key: WindowKey
    records: int


@dataclass(frozen=True, slots=True)
class Step:
    """closed: earliest first."""

    progress: Progress
    closed: tuple[Closed, ...] = ()
    late: tuple[Late, ...] = ()


class Store(Protocol):
    """The summaries of one monitor's open windows: those of Progress.open and no others."""

    def get(self, key: WindowKey) -> bytes: ...
    def put(self, key: WindowKey, summary: bytes) -> None: ...
    def remove(self, key: WindowKey) -> None: ...


def take(progress: Progress, parts: Iterable[Part], *, watermark_ms: int, now_ms: int, store: Store) -> Step:
    """A micro-batch has come: merge it into the open windows, move event time on, close what is due."""
    fresh: dict[WindowKey, WindowSummary] = {}
    inside = dict(progress.open)
    late: dict[WindowKey, int] = {}
    latest_ms = progress.latest_ms or 0
    for part in parts:
        latest_ms = max(latest_ms, part.latest_ms)
        if part.key.end_ms <= progress.closed_until_ms:
            late[part.key] = late.get(part.key, 0) + part.records
            continue
        inside[part.key] = inside.get(part.key, 0) + part.inside
        summary = WindowSummary.decode(part.summary)
        fresh[part.key] = fresh[part.key].merge(summary) if part.key in fresh else summary
    for key in fresh.keys() & progress.open.keys():
        fresh[key] = WindowSummary.decode(store.get(key)).merge(fresh[key])
    moved = replace(
        progress,
        latest_ms=latest_ms,
        closed_until_ms=max(progress.closed_until_ms, latest_ms - watermark_ms),
        silent_ms=0,
        checked_ms=now_ms,
        late_records=progress.late_records + sum(late.values()),
    )
    step = _close(moved, inside, fresh, now_ms=now_ms, store=store)
    return replace(step, late=tuple(Late(key, records) for key, records in sorted(late.items()) if records))


def wake(progress: Progress, *, watermark_ms: int, now_ms: int, store: Store) -> Step:
    """Progress.wake_ms has come: when all was silent for long, event time moves on with the clock and windows close."""
    silent_ms = progress.silent_ms + min(max(now_ms - progress.checked_ms, 0), MAXIMUM_CREDIT_MS)
    closed_until_ms = progress.closed_until_ms
    if progress.latest_ms is not None and silent_ms > SILENCE_MS:
        closed_until_ms = max(closed_until_ms, progress.latest_ms + silent_ms - SILENCE_MS - watermark_ms)
    moved = replace(progress, silent_ms=silent_ms, checked_ms=now_ms, closed_until_ms=closed_until_ms, wake_ms=None)
    return _close(moved, progress.open, {}, now_ms=now_ms, store=store)


def _close(
    progress: Progress,
    inside: Mapping[WindowKey, int],
    fresh: Mapping[WindowKey, WindowSummary],
    *,
    now_ms: int,
    store: Store,
) -> Step:
    """inside: of every window that is open now. fresh: whole summaries that the store does not have yet."""
    due = sorted((key for key in inside if key.end_ms <= progress.closed_until_ms), key=lambda key: (key.end_ms, key))
    # A first heartbeat on a boundary also stands on the end of the window before, in which nothing lived.
    closed = [
        Closed(key, fresh[key] if key in fresh else WindowSummary.decode(store.get(key))) for key in due if inside[key]
    ]
    for key in due:
        if key in progress.open:
            store.remove(key)
    for key in fresh.keys() - set(due):
        store.put(key, fresh[key].encode())
    remaining = {key: count for key, count in inside.items() if key.end_ms > progress.closed_until_ms}
    wake_ms = (progress.wake_ms or now_ms + CHECK_MS) if remaining else progress.wake_ms
    return Step(replace(progress, open=remaining, wake_ms=wake_ms), tuple(closed))
