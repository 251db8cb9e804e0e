"""Where each message of a fold belongs: in the windows of its monitor, or among the dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from aggregator.catalogue import Catalogue
from aggregator.progress import WindowKey
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

Message: TypeAlias = InferenceRecord | Heartbeat


class Refusal(NamedTuple):
    reason: str
    detail: str


@dataclass(slots=True)
class Group:
    """
    Messages of one window from one partition. positions: of the records in the fold; the records themselves are
    in `records` column by column, and are not kept. spoiled: one of them was not what it must be, so the columns are of
    no use. duplicates: records left out since the fold has them already, by "replica/incarnation".
    """

    records: GatheredRecords
    positions: list[int] = field(default_factory=list)
    spoiled: bool = False
    heartbeats: list[Heartbeat] = field(default_factory=list)
    duplicates: Counter[str] = field(default_factory=Counter)

    def add(self, position: int, record: InferenceRecord) -> None:
        self.positions.append(position)
        if not self.spoiled:
            try:
                self.records.add(record)
            except UNUSABLE:
                self.spoiled = True


class _Place(NamedTuple):
    """Where records of one worker and second belong. seen: numbers of this worker's records in the fold."""

    groups: Sequence[Group]
    seen: set[int]


_NAMES: Final = itemgetter("monitor", "version", "baseline", "replica", "incarnation")


class Sorter:
    """
    Messages of one fold into the groups of their windows. Windows begin and end on whole seconds, so records of one
    second that are alike otherwise belong to the same.
    """

    def __init__(self, catalogue: Catalogue, now_ms: int) -> None:
        self._catalogue, self._now_ms = catalogue, now_ms
        self.groups: dict[tuple[str, str, WindowKey], Group] = {}
        """By monitor, source and window."""
        self._places: dict[tuple[tuple[str, ...], str, int], _Place] = {}
        self._seen: dict[tuple[str, str, str], set[int]] = {}
        """Numbers of records by monitor, replica and incarnation."""

    def sort(self, position: int, message: Message, source: str) -> Refusal | None:
        if type(message) is Heartbeat:
            refusal = _refusal(message, self._catalogue, self._now_ms)
            if refusal is None:
                for group in self._groups_of(message, source):
                    group.heartbeats.append(message)
            return refusal
        at = (_NAMES(vars(message)), source, message.time_ms // 1000)
        place = self._places.get(at)
        if place is None or message.time_ms > self._now_ms:
            refusal = _refusal(message, self._catalogue, self._now_ms)
            if refusal is not None:
                return refusal
            worker = (message.monitor, message.replica, message.incarnation)
            place = self._places[at] = _Place(self._groups_of(message, source), self._seen.setdefault(worker, set()))
        _add(place, position, message)  # type: ignore[arg-type]
        return None

    def _groups_of(self, message: Message, source: str) -> list[Group]:
        """One for each window that the message belongs to."""
        windows = self._catalogue.monitors[message.monitor].windows
        among = windows_of if isinstance(message, InferenceRecord) else windows_bounded_by
        found = []
        for window in among(message.time_ms, windows):
            key = WindowKey(message.version, message.baseline, window.start_ms, window.end_ms)
            group = self.groups.get((message.monitor, source, key))
            if group is None:
                records = GatheredRecords(profile_of(message.baseline, self._catalogue))
                group = self.groups[message.monitor, source, key] = Group(records)
            found.append(group)
        return found


def _add(place: _Place, position: int, record: InferenceRecord) -> None:
    """What a producer repeats mostly stands beside what it repeats."""
    if record.seq in place.seen:
        for group in place.groups:
            group.duplicates[f"{record.replica}/{record.incarnation}"] += 1
        return
    place.seen.add(record.seq)
    for group in place.groups:
        group.add(position, record)


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
