"""
One monitor's windows and event time: what a micro-batch of summaries, or silence, opens, closes or corrects.

Event time is that of this monitor, of records and heartbeats alike; other monitors' clocks do not touch it. Each
partition of the topic is read at its own pace, so the slowest that is still being read says how far event time has
come. A window closes when event time passes its end by the watermark; its summary is kept until the lateness has passed
as well, and what comes meanwhile makes a corrected report. Rows of one step are all held against the event time from
before it, so within a step their order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from aggregator.progress import Held, Place, Progress, Source, WindowKey, Worker
from tidegauge.monitor import Windows
from tidegauge.summaries.served_account import ServedAccount
from tidegauge.summaries.window_summary import EncodedSummary, WindowSummary
from tidegauge.windows import Window

SILENCE_MS: Final = 5_000
"""
How long, beyond the watermark, nothing at all must come before time is taken to pass without data. A transformer that
lives sends a heartbeat a second, so five missing ones are no hiccup.
"""

CHECK_MS: Final = 1_000
"""How often silence is looked at while a window is open."""

KEPT_CHECK_MS: Final = 10_000
"""The same while closed windows wait for late records."""

REST_MS: Final = 3_600_000
"""The same when there is nothing to wait for: a monitor that was removed gives its state back then."""

HOLD_MS: Final = 5_000
"""
A partition of which this monitor read old records holds event time back for so long after them. Spark's bound gives
every partition with a backlog its share of each micro-batch, but the share may be another monitor's records.
"""

BEHIND_MS: Final = 5_000
"""What is older than this when it is read is old: its partition may have a backlog. Others were read to their end."""

CORRECTION_MS: Final = 5_000
"""Late records of a window are collected for so long before its report is corrected: a replay comes in many batches."""

LIVE_MS: Final = 60_000
"""
A monitor whose event time is further behind the clock catches up with a backlog: nobody watches its windows open, and a
verdict on one under way costs as much as one on a closed one.
"""

MAXIMUM_WORKERS: Final = 10_000
"""Incarnations that are remembered; beyond it those that were heard longest ago are forgotten."""


@dataclass(frozen=True, slots=True)
class Part:
    """
    What one fold knows of a window. records: requests in it. inside: as Held has it. sources: latest event time of what
    was read of it, by partition.
    """

    key: WindowKey
    summary: bytes
    records: int
    inside: int
    sources: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Closed:
    """revision: 0 for the first report on the window; higher ones correct it."""

    key: WindowKey
    summary: WindowSummary
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Late:
    """Requests that came too late to correct their window."""

    key: WindowKey
    records: int


@dataclass(frozen=True, slots=True)
class Step:
    """
    closed: windows to report, earliest first. Their account is that of all the monitor's versions together. under_way:
    open ones, for live views.
    """

    progress: Progress
    closed: tuple[Closed, ...] = ()
    under_way: tuple[Closed, ...] = ()
    late: tuple[Late, ...] = ()


class Store(Protocol):
    """
    The summaries of one monitor's windows: those of Progress.windows and no others. settled: as Held has it. What `put`
    gives is kept with the window.
    """

    def get(self, key: WindowKey) -> bytes: ...
    def put(self, key: WindowKey, summary: bytes, *, settled: bool) -> Place: ...
    def remove(self, key: WindowKey) -> None: ...


def take(progress: Progress, parts: Iterable[Part], *, rules: Windows, now_ms: int, store: Store) -> Step:
    """A micro-batch has come: merge it into its windows, move event time on, report what is due."""
    desk = _Desk(progress, rules, now_ms, store)
    sources, workers, late = dict(progress.sources), dict(progress.workers), dict[WindowKey, int]()
    for part in parts:
        for name, latest_ms in part.sources.items():
            known = sources.get(name, Source(latest_ms, now_ms))
            sources[name] = Source(max(known.latest_ms, latest_ms), now_ms)
        summary = EncodedSummary(part.summary)
        _hear(workers, summary.account)
        if part.key.end_ms <= progress.closed_until_ms - rules.lateness_ms:
            late[part.key] = late.get(part.key, 0) + part.records
        else:
            desk.merge(part, summary)
    latest_ms = max([progress.latest_ms or 0, *(source.latest_ms for source in sources.values())])
    reached_ms = _reached_ms(sources.values(), now_ms, latest_ms)
    moved = replace(
        progress,
        latest_ms=latest_ms,
        closed_until_ms=max(progress.closed_until_ms, reached_ms - rules.watermark_ms),
        silent_ms=0,
        checked_ms=now_ms,
        late_records=progress.late_records + sum(late.values()),
        sources=sources,
        workers=workers,
    )
    step = desk.settle(moved)
    return replace(step, late=tuple(Late(key, records) for key, records in sorted(late.items()) if records))


def wake(progress: Progress, *, rules: Windows, now_ms: int, store: Store) -> Step:
    """
    The clock has moved on: when all was silent for long, event time moves with it and windows close. Nothing happens
    before Progress.wake_ms.
    """
    if progress.wake_ms is None or now_ms < progress.wake_ms:
        return Step(progress)
    # After a stop or an outage of the broker nobody listened: what was sent meanwhile must find its windows open.
    credit_ms = 2 * (CHECK_MS if progress.has_open else KEPT_CHECK_MS)
    silent_ms = progress.silent_ms + min(max(now_ms - progress.checked_ms, 0), credit_ms)
    closed_until_ms = progress.closed_until_ms
    if progress.latest_ms is not None and silent_ms > SILENCE_MS:
        closed_until_ms = max(closed_until_ms, progress.latest_ms + silent_ms - SILENCE_MS - rules.watermark_ms)
    moved = replace(progress, silent_ms=silent_ms, checked_ms=now_ms, closed_until_ms=closed_until_ms, wake_ms=None)
    return _Desk(progress, rules, now_ms, store).settle(moved)


def _reached_ms(sources: Iterable[Source], now_ms: int, latest_ms: int) -> int:
    """
    How far all that is being read has come. A partition that gave nothing this time had nothing, unless it is known to
    be behind.
    """
    holding = [
        source.latest_ms
        for source in sources
        if source.seen_ms == now_ms
        or (source.seen_ms - source.latest_ms > BEHIND_MS and now_ms - source.seen_ms < HOLD_MS)
    ]
    return min(holding, default=latest_ms)


def _hear(workers: dict[str, Worker], account: ServedAccount) -> None:
    for name, heard in account.incarnations.items():
        if heard.first is None or heard.last is None:
            continue
        known = workers.get(name, Worker(heard.first.time_ms, heard.last.time_ms))
        workers[name] = Worker(
            first_ms=min(known.first_ms, heard.first.time_ms),
            last_ms=max(known.last_ms, heard.last.time_ms),
            ended=known.ended or heard.ended,
        )


class _Desk:
    """One step's work on the windows: merges parts, then reports what is due and gives the store what has changed."""

    def __init__(self, progress: Progress, rules: Windows, now_ms: int, store: Store) -> None:
        self._rules, self._now_ms, self._store = rules, now_ms, store
        self._stored = progress.windows
        self._closed_until_ms = progress.closed_until_ms
        self._held = dict(progress.windows)
        self._fresh: dict[WindowKey, WindowSummary | EncodedSummary] = {}
        """Those of one part alone as they came: many are not looked into before they are stored."""

    def merge(self, part: Part, summary: EncodedSummary) -> None:
        held = self._held.get(part.key) or Held(closed=part.key.end_ms <= self._closed_until_ms)
        known = self._summary(part.key) if part.key in self._held else None
        records = part.records
        if known is None:
            self._fresh[part.key] = summary
        elif known.account.repeats(summary.account):
            # What came again as a whole is left out; it is counted, and heartbeats that came with it are taken.
            self._fresh[part.key] = replace(known, account=known.account.merge(summary.account))
            records = 0
        else:
            self._fresh[part.key] = known.merge(summary.decoded)
        due_ms = held.due_ms
        if held.closed and records and due_ms is None:
            due_ms = self._now_ms + CORRECTION_MS
        self._held[part.key] = replace(
            held, inside=held.inside + part.inside, records=held.records + records, due_ms=due_ms
        )

    def settle(self, progress: Progress) -> Step:
        """progress: with its event time moved on, and its windows as they were."""
        self._closed_until_ms = progress.closed_until_ms
        due = self._due()
        closed = [one for window, keys in due.items() for one in self._reported(window, keys, progress.workers)]
        under_way = self._under_way(progress)
        self._save()
        settled = replace(
            progress,
            windows=self._held,
            workers=self._remembered(progress.workers),
            shown_ms=self._now_ms if under_way else progress.shown_ms,
        )
        return Step(
            replace(settled, wake_ms=self._wake_ms(settled)),
            tuple(sorted(closed, key=lambda one: (one.key.end_ms, one.key))),
            tuple(under_way),
        )

    @property
    def _forgotten_ms(self) -> int:
        return self._closed_until_ms - self._rules.lateness_ms

    def _due(self) -> dict[Window, list[WindowKey]]:
        """Windows to report, with their keys of all versions."""
        keys: dict[Window, list[WindowKey]] = {}
        for key in self._held:
            keys.setdefault(key.window, []).append(key)
        return {window: of_window for window, of_window in keys.items() if any(map(self._is_due, of_window))}

    def _is_due(self, key: WindowKey) -> bool:
        held = self._held[key]
        if not held.closed:
            return key.end_ms <= self._closed_until_ms
        return held.due_ms is not None and (held.due_ms <= self._now_ms or key.end_ms <= self._forgotten_ms)

    def _reported(self, window: Window, keys: list[WindowKey], workers: Mapping[str, Worker]) -> list[Closed]:
        """
        Workers tell their monitor's version, answers the model's: only all versions together have one account. Where
        some have requests, those that were only spoken of in heartbeats are no versions that were served.
        """
        summaries = {key: self._summary(key) for key in keys}
        account = ServedAccount()
        for summary in summaries.values():
            account = account.merge(summary.account)
        account = account.with_unknown(_unheard(window, workers, account, self._rules.lateness_ms))
        served = [key for key in keys if self._held[key].records or self._held[key].revision is not None]
        chosen = served or [key for key in keys if self._held[key].inside]
        for key in keys:
            held = replace(self._held[key], closed=True, due_ms=None)
            revision = 0 if held.revision is None else held.revision + 1
            self._held[key] = replace(held, revision=revision) if key in chosen else held
        return [Closed(key, replace(summaries[key], account=account), self._held[key].revision or 0) for key in chosen]

    def _under_way(self, progress: Progress) -> list[Closed]:
        """
        Of each version the window that event time is in; where windows overlap, the fullest. None too often, and none
        while the monitor catches up.
        """
        every_ms, latest_ms = self._rules.provisional_ms, progress.latest_ms
        if not every_ms or latest_ms is None or self._now_ms - progress.shown_ms < every_ms:
            return []
        if self._now_ms - latest_ms > LIVE_MS:
            return []
        inside = [key for key, held in self._held.items() if held.records and key.start_ms <= latest_ms < key.end_ms]
        fullest = {
            (key.version, key.baseline): key for key in sorted(inside, reverse=True) if not self._held[key].closed
        }
        return [Closed(key, self._summary(key)) for key in fullest.values()]

    def _summary(self, key: WindowKey) -> WindowSummary:
        fresh = self._fresh.get(key) or EncodedSummary(self._store.get(key))
        return fresh.decoded if isinstance(fresh, EncodedSummary) else fresh

    def _save(self) -> None:
        """The store has what it is told of and no more: windows that can be corrected no longer are given up."""
        for key in [key for key in self._held if key.end_ms <= self._forgotten_ms]:
            del self._held[key]
            self._fresh.pop(key, None)
            if key in self._stored:
                self._store.remove(key)
        for key, summary in self._fresh.items():
            self._put(key, summary.data if isinstance(summary, EncodedSummary) else summary.encode())
        for key, held in self._held.items():
            if key not in self._fresh and held.settled and not self._stored[key].settled:
                self._put(key, self._store.get(key))

    def _put(self, key: WindowKey, data: bytes) -> None:
        held = self._held[key]
        place = self._store.put(key, data, settled=held.settled)
        self._held[key] = replace(held, size_bytes=len(data), place=place)

    def _remembered(self, workers: Mapping[str, Worker]) -> dict[str, Worker]:
        latest_first = sorted(workers.items(), key=lambda item: item[1].last_ms, reverse=True)
        # A late record may still reopen the account of the oldest window that is kept.
        known_from_ms = self._forgotten_ms - self._rules.lateness_ms - self._rules.duration_ms
        return {name: worker for name, worker in latest_first[:MAXIMUM_WORKERS] if worker.last_ms > known_from_ms}

    def _wake_ms(self, progress: Progress) -> int:
        dues = [held.due_ms for held in self._held.values() if held.due_ms is not None]
        pause_ms = KEPT_CHECK_MS if self._held else REST_MS
        wanted = [self._now_ms + (CHECK_MS if progress.has_open else pause_ms), *dues]
        return min(wanted if progress.wake_ms is None else [progress.wake_ms, *wanted])


def _unheard(window: Window, workers: Mapping[str, Worker], account: ServedAccount, lateness_ms: int) -> list[str]:
    """
    Workers that may have served in the window and did not say so in it. One that fell silent without its final
    heartbeat may yet come back and tell, until the lateness has passed.
    """
    heard = {name for name, incarnation in account.incarnations.items() if incarnation.first is not None}
    return [
        name
        for name, worker in workers.items()
        if name not in heard
        and worker.first_ms < window.end_ms
        and worker.last_ms > window.start_ms - (0 if worker.ended else lateness_ms)
    ]
