"""Where each message of a fold belongs: in the windows of its monitor, or among the dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias

from aggregator.catalogue import Catalogue
from aggregator.progress import WindowKey
from aggregator.written_record import WrittenRecord
from tidegauge.baseline import BaselineProfile
from tidegauge.records import Heartbeat, InferenceRecord
from tidegauge.summaries.gathered_records import GatheredRecords
from tidegauge.windows import windows_bounded_by, windows_of

MAXIMUM_LEAD_MS: Final = 60_000
"""A message from further in the future would close every window of its monitor at once."""

MAXIMUM_VERSION_LENGTH: Final = 200

REFUSALS: Final = ("unknown_monitor", "unknown_baseline", "clock_ahead", "before_epoch", "bad_version", "unusable")
"""Why a well-formed message becomes a dead letter; malformed ones have tidegauge.records.INVALID_REASONS."""

UNUSABLE: Final = (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError)
"""What the kernel raises for a record that has a wrong value inside."""

Record: TypeAlias = InferenceRecord | WrittenRecord
Message: TypeAlias = Record | Heartbeat


class Refusal(NamedTuple):
    reason: str
    detail: str


@dataclass(slots=True)
class Group:
    """
    Messages of one window. positions: of the records in the fold; the records themselves are in `records` column by
    column, and are not kept. spoiled: one of them was not what it must be, so the columns are of no use. duplicates:
    records left out since the fold has them already, by "replica/incarnation". latest_ms: latest time of the others and
    of the heartbeats, by source; heard_ms: of the heartbeats alone.
    """

    records: GatheredRecords
    positions: list[int] = field(default_factory=list)
    spoiled: bool = False
    heartbeats: list[Heartbeat] = field(default_factory=list)
    duplicates: Counter[str] = field(default_factory=Counter)
    latest_ms: dict[str, int] = field(default_factory=dict)
    heard_ms: dict[str, int] = field(default_factory=dict)

    def without_records(self, profile: BaselineProfile) -> Group:
        return replace(
            self, records=GatheredRecords(profile), positions=[], spoiled=False, latest_ms=dict(self.heard_ms)
        )

    def add(self, position: int, record: Record, source: str) -> None:
        if record.time_ms > self.latest_ms.get(source, -1):
            self.latest_ms[source] = record.time_ms
        self.positions.append(position)
        if not self.spoiled:
            try:
                self.records.add(record)
            except UNUSABLE:
                self.spoiled = True

    def hear(self, heartbeat: Heartbeat, source: str) -> None:
        for latest_ms in (self.latest_ms, self.heard_ms):
            latest_ms[source] = max(heartbeat.time_ms, latest_ms.get(source, -1))
        self.heartbeats.append(heartbeat)


@dataclass(slots=True)
class _Speaker:
    """
    What one worker says with one baseline and version. seen: numbers of its records in the fold. groups: of the windows
    that a time belongs to, by how many slides it is from the epoch.
    """

    slide_ms: int
    seen: set[int]
    groups: dict[int, Sequence[Group]] = field(default_factory=dict)


_NAMES: Final = attrgetter("monitor", "version", "baseline", "replica", "incarnation")


class Sorter:
    """Messages of one fold into the groups of their windows. Each speaker is looked at once."""

    def __init__(self, catalogue: Catalogue, now_ms: int) -> None:
        self._catalogue, self._now_ms = catalogue, now_ms
        self.groups: dict[tuple[str, WindowKey], Group] = {}
        """By monitor and window."""
        self._speakers: dict[tuple[str, str, str, str, str], _Speaker] = {}
        self._seen: dict[tuple[str, str, str], set[int]] = {}
        """Numbers of records by monitor, replica and incarnation."""

    def sort(self, position: int, message: Message, source: str) -> Refusal | None:
        name = _NAMES(message)
        speaker = self._speakers.get(name)
        if speaker is None or not 0 <= message.time_ms <= self._now_ms:
            refusal = _refusal(message, self._catalogue, self._now_ms)
            if refusal is not None:
                return refusal
        if speaker is None:
            speaker = self._speakers[name] = self._speaker(message)
        if type(message) is not Heartbeat:
            _add(self._groups(speaker, message), speaker.seen, position, message, source)  # type: ignore[arg-type]
        elif message.time_ms % speaker.slide_ms:
            for group in self._groups(speaker, message):
                group.hear(message, source)
        else:  # one that stands between windows belongs to both
            for group in self._groups_of(message):
                group.hear(message, source)
        return None

    def _speaker(self, message: Message) -> _Speaker:
        worker = (message.monitor, message.replica, message.incarnation)
        slide_ms = self._catalogue.monitors[message.monitor].windows.slide_ms
        return _Speaker(slide_ms, self._seen.setdefault(worker, set()))

    def _groups(self, speaker: _Speaker, message: Message) -> Sequence[Group]:
        """Of the windows that contain the message's time."""
        at = message.time_ms // speaker.slide_ms
        groups = speaker.groups.get(at)
        if groups is None:
            groups = speaker.groups[at] = self._groups_of(message)
        return groups

    def _groups_of(self, message: Message) -> list[Group]:
        """One for each window that the message belongs to."""
        windows = self._catalogue.monitors[message.monitor].windows
        among = windows_bounded_by if isinstance(message, Heartbeat) else windows_of
        found = []
        for window in among(message.time_ms, windows):
            key = WindowKey(message.version, message.baseline, window.start_ms, window.end_ms)
            group = self.groups.get((message.monitor, key))
            if group is None:
                records = GatheredRecords(profile_of(message.baseline, self._catalogue))
                group = self.groups[message.monitor, key] = Group(records)
            found.append(group)
        return found


def _add(groups: Sequence[Group], seen: set[int], position: int, record: Record, source: str) -> None:
    """What a producer repeats mostly stands beside what it repeats."""
    if record.seq in seen:
        for group in groups:
            group.duplicates[f"{record.replica}/{record.incarnation}"] += 1
        return
    seen.add(record.seq)
    for group in groups:
        group.add(position, record, source)


def profile_of(baseline: str, catalogue: Catalogue) -> BaselineProfile:
    profile = catalogue.profile(baseline)
    assert profile is not None, "messages of unknown baselines are refused"
    return profile


def _refusal(message: Message, catalogue: Catalogue, now_ms: int) -> Refusal | None:
    expected = catalogue.baselines.get(message.monitor)
    if expected is None:
        return Refusal("unknown_monitor", f"monitor {message.monitor[:80]!r}, known: {', '.join(catalogue.monitors)}")
    if not catalogue.accepts(message.monitor, message.baseline):
        return Refusal("unknown_baseline", f"baseline {message.baseline[:80]!r}, the monitor has {expected}")
    if message.time_ms > now_ms + MAXIMUM_LEAD_MS:
        return Refusal("clock_ahead", f"time_ms is {message.time_ms - now_ms} ms ahead of the aggregator's clock")
    if message.time_ms < 0:
        return Refusal("before_epoch", f"time_ms = {message.time_ms}")
    if len(message.version) > MAXIMUM_VERSION_LENGTH or not message.version.isprintable():
        return Refusal("bad_version", f"version of {len(message.version)} characters")
    return None
