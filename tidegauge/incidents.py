"""
Windows into incidents: which features fire, and which incident they belong to.

There is one incident of a kind at a time, however many features are in it; they join and leave while it is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from tidegauge.alerts_spec import AlertPolicy

IncidentKind: TypeAlias = Literal["drift", "blind"]
"""blind: features that could not be judged for long."""

KINDS: Final[tuple[IncidentKind, ...]] = ("drift", "blind")

IncidentStatus: TypeAlias = Literal["firing", "reopened", "resolved"]

Evidence: TypeAlias = Mapping[str, Any]
"""JSON-able: what a report says of a feature."""


@dataclass(frozen=True)
class Contribution:
    """
    One window. drifted: evidence by feature. blind: features that could not be judged; all others were and had not
    drifted. complete: whether it saw as much of the traffic as the policy asks for.
    """

    start_ms: int
    end_ms: int
    revision: int
    drifted: Mapping[str, Evidence]
    blind: tuple[str, ...]
    complete: bool

    def told(self, kind: IncidentKind) -> Mapping[str, Evidence]:
        return self.drifted if kind == "drift" else {name: {} for name in self.blind}

    def silent(self, kind: IncidentKind) -> frozenset[str]:
        """Of these the window says nothing: they neither fire nor resolve."""
        return frozenset(self.blind) if kind == "drift" else frozenset()


@dataclass(frozen=True)
class Track:
    """
    One feature on its way to firing (pending), or firing. since_ms: start of the first window. windows, clean: how many
    were counted for and against. counted_ms, clean_ms: ends of the last ones.
    """

    since_ms: int
    windows: int = 0
    clean: int = 0
    counted_ms: int = 0
    clean_ms: int = 0
    firing: bool = False
    evidence: Evidence = field(default_factory=dict)


@dataclass(frozen=True)
class Incident:
    """start_ms: names it for good. last_ms: end of the last window in which it was open, or that closed it."""

    start_ms: int
    last_ms: int
    status: IncidentStatus = "firing"
    features: Mapping[str, Track] = field(default_factory=dict)
    complete: bool = True


@dataclass(frozen=True)
class Incidents:
    tracks: Mapping[str, Mapping[str, Track]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    latest: Mapping[str, Incident] = field(default_factory=dict)
    """By kind: the open one, or the last one, which may be opened again."""


def advance(before: Incidents, window: Contribution, policy: AlertPolicy) -> Incidents:
    """Windows come in the order of their time."""
    tracks: dict[str, Mapping[str, Track]] = {}
    latest = dict(before.latest)
    for kind in KINDS:
        tracks[kind] = _tracked(before.tracks[kind], window, kind, policy)
        firing = {name: track for name, track in tracks[kind].items() if track.firing}
        incident = _incident(latest.get(kind), firing, window, policy)
        if incident:
            latest[kind] = incident
    return Incidents(tracks, latest)


def _tracked(
    tracks: Mapping[str, Track], window: Contribution, kind: IncidentKind, policy: AlertPolicy
) -> dict[str, Track]:
    told, silent = window.told(kind), window.silent(kind)
    needed = policy.consecutive_windows if kind == "drift" else policy.blind_after
    clear_after = policy.resolve_after if kind == "drift" else 1
    after = {}
    for name in dict.fromkeys((*tracks, *told)):
        track: Track | None = tracks.get(name)
        if name in told:
            track = _counted(track or Track(window.start_ms), window, told[name], needed)
        elif name not in silent and track:
            track = _cleared(track, window, clear_after)
        if track:
            after[name] = track
    return after


def _counted(track: Track, window: Contribution, evidence: Evidence, needed: int) -> Track:
    counts = not track.windows or window.start_ms >= track.counted_ms
    windows = track.windows + counts
    # Made anew by name: dataclasses.replace takes three times as long, and while learning every feature comes here.
    return Track(
        since_ms=track.since_ms,
        windows=windows,
        clean=0,
        counted_ms=window.end_ms if counts else track.counted_ms,
        clean_ms=track.clean_ms,
        firing=track.firing or (counts and windows >= needed),
        evidence=evidence,
    )


def _cleared(track: Track, window: Contribution, clear_after: int) -> Track | None:
    """A pending one is forgotten at once; a firing one when enough windows without overlap say so."""
    if not track.firing:
        return None
    if track.clean and window.start_ms < track.clean_ms:
        return track
    clean = track.clean + 1
    return None if clean >= clear_after else replace(track, clean=clean, clean_ms=window.end_ms)


def _incident(
    latest: Incident | None, firing: Mapping[str, Track], window: Contribution, policy: AlertPolicy
) -> Incident | None:
    if latest and latest.status != "resolved":
        status: IncidentStatus = latest.status if firing else "resolved"
        # A resolved one keeps what fired last: evidence.
        features = firing or latest.features
        return replace(
            latest,
            status=status,
            features=features,
            last_ms=window.end_ms,
            complete=latest.complete and window.complete,
        )
    if not firing:
        return latest
    if latest and window.end_ms - latest.last_ms <= policy.reopen_within_ms:
        return replace(latest, status="reopened", features=firing, last_ms=window.end_ms, complete=window.complete)
    start_ms = min(track.since_ms for track in firing.values())
    return Incident(start_ms, window.end_ms, features=firing, complete=window.complete)
