"""
Alerts with memory: (what was before, a window's report, the policy) -> what is now, and what somebody should be told.

A feature that drifts is pending until it has drifted in enough windows without overlap; then it fires and belongs to
the one open incident. Windows that could not be judged neither fire nor resolve anything; a feature that cannot be
judged for long is an incident of another kind. The last CORRECTABLE windows are kept as they came, and all that follows
from them is worked out anew, so a corrected report replaces what its first version said, and one that comes again
changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Final, Literal, TypeAlias

from tidegauge.alerts_spec import AlertPolicy
from tidegauge.drift.results import Measured
from tidegauge.incidents import KINDS, Contribution, Incident, IncidentKind, Incidents, Track, advance
from tidegauge.report import FeatureReport, WindowReport

VERSION: Final = 1

CORRECTABLE: Final = 16
"""Windows that a corrected report can still replace. Older ones have gone into the state for good."""

CRITICAL_DIVERGENCE: Final = 0.1
"""Jensen-Shannon, in nats: a shift of a normal distribution by one standard deviation has 0.11."""


@dataclass(frozen=True)
class Alert:
    """
    What is to be told of one incident. id: the same for as long as the incident lives, so that a later alert replaces
    the earlier one. status: firing, reopened or resolved. notify: whether the status is new; else features joined or
    left. corrected: resolved because a corrected report took back what it was raised for.
    """

    id: str
    kind: IncidentKind
    monitor: str
    version: str
    baseline: str
    incident: Incident
    notify: bool
    corrected: bool = False

    @property
    def severity(self) -> Literal["warning", "critical"]:
        divergences = (track.evidence.get("divergence") or 0.0 for track in self.incident.features.values())
        return "critical" if self.kind == "drift" and max(divergences) >= CRITICAL_DIVERGENCE else "warning"

    def to_document(self) -> dict[str, Any]:
        """As docs/schemas/alert.v1.json says."""
        incident = self.incident
        return {
            "v": VERSION,
            "kind": "alert",
            "id": self.id,
            "about": self.kind,
            "monitor": self.monitor,
            "version": self.version,
            "baseline": self.baseline,
            "status": incident.status,
            "notify": self.notify,
            "corrected": self.corrected,
            "severity": self.severity,
            "start_ms": incident.start_ms,
            "last_ms": incident.last_ms,
            "complete": incident.complete,
            "features": [
                {"name": name, "since_ms": track.since_ms, "windows": track.windows, "evidence": dict(track.evidence)}
                for name, track in sorted(incident.features.items(), key=_worst_first)
            ],
        }


def _worst_first(item: tuple[str, Track]) -> tuple[float, str]:
    return -(item[1].evidence.get("divergence") or 0.0), item[0]


Rules: TypeAlias = list[int]


@dataclass(frozen=True)
class AlertState:
    """
    settled: all that follows from the windows before `recent`. recent: in the order of their time. known: what follows
    from all of them by these rules, where that has been worked out.
    """

    settled: Incidents = field(default_factory=Incidents)
    recent: tuple[Contribution, ...] = ()
    settled_until_ms: int = 0
    known: tuple[Rules, Incidents] | None = field(default=None, repr=False, compare=False)

    def incidents(self, policy: AlertPolicy) -> Incidents:
        if self.known is not None and self.known[0] == _rules(policy):
            return self.known[1]
        return reduce(lambda before, window: advance(before, window, policy), self.recent, self.settled)

    def has_judged(self, report: WindowReport) -> bool:
        """Whether an earlier report on the window could have raised an alarm; True where that is not known any more."""
        window, features = report.window, {one.name for one in report.judged}
        for known in self.recent:
            if (known.start_ms, known.end_ms) == (window.start_ms, window.end_ms):
                return bool(features.difference(known.blind))
        return window.end_ms <= self.settled_until_ms

    def to_document(self) -> dict[str, Any]:
        return {
            "v": VERSION,
            "settled": _incidents_to_document(self.settled),
            "recent": [{**vars(window), "blind": list(window.blind)} for window in self.recent],
            "settled_until_ms": self.settled_until_ms,
            "known": self.known and [self.known[0], _incidents_to_document(self.known[1])],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | None) -> AlertState:
        """None: the beginning. Raises ValueError for the state of another version."""
        if document is None:
            return cls()
        if document.get("v") != VERSION:
            raise ValueError(f"alerts of version {document.get('v')!r}, this program reads {VERSION}")
        known = document.get("known")  # not told by the first programs
        return cls(
            settled=_incidents(document["settled"]),
            recent=tuple(Contribution(**{**item, "blind": tuple(item["blind"])}) for item in document["recent"]),
            settled_until_ms=document["settled_until_ms"],
            known=known and (known[0], _incidents(known[1])),
        )


def _incidents_to_document(incidents: Incidents) -> dict[str, Any]:
    return {
        "tracks": {kind: _tracks_to_document(tracks) for kind, tracks in incidents.tracks.items()},
        "latest": {
            kind: {**vars(incident), "features": _tracks_to_document(incident.features)}
            for kind, incident in incidents.latest.items()
        },
    }


def _incidents(document: Mapping[str, Any]) -> Incidents:
    return Incidents(
        tracks={kind: _tracks(tracks) for kind, tracks in document["tracks"].items()},
        latest={
            kind: Incident(**{**incident, "features": _tracks(incident["features"])})
            for kind, incident in document["latest"].items()
        },
    )


def _tracks_to_document(tracks: Mapping[str, Track]) -> dict[str, Any]:
    return {name: dict(vars(track)) for name, track in tracks.items()}


def _tracks(document: Mapping[str, Any]) -> dict[str, Track]:
    return {name: Track(**track) for name, track in document.items()}


def step(previous: AlertState, report: WindowReport, policy: AlertPolicy) -> tuple[AlertState, tuple[Alert, ...]]:
    """
    A report that is known already, or older than what can be corrected, changes nothing. Reports are of one monitor,
    model version and baseline.
    """
    window = _contribution(report, policy)
    state = _with(previous, window, policy)
    if state is previous:
        return previous, ()
    before = previous.incidents(policy)
    # As nearly always the window is the latest: what follows from those before it is known.
    after = advance(before, window, policy) if state.recent[-1] is window else state.incidents(policy)
    alerts = [alert for kind in KINDS for alert in _told(kind, before.latest.get(kind), after.latest.get(kind), report)]
    return replace(state, known=(_rules(policy), after)), tuple(alerts)


def _rules(policy: AlertPolicy) -> Rules:
    """What windows become incidents by. Where alerts go may be a secret, and is nothing to keep."""
    return [policy.consecutive_windows, policy.resolve_after, policy.blind_after, policy.reopen_within_ms]


def _with(state: AlertState, window: Contribution, policy: AlertPolicy) -> AlertState:
    """The same state where the window is no news."""
    known = {(other.start_ms, other.end_ms): other for other in state.recent}
    same = known.get((window.start_ms, window.end_ms))
    if window.end_ms <= state.settled_until_ms or (same and same.revision >= window.revision):
        return state
    known[window.start_ms, window.end_ms] = _corrected(same, window) if same else window
    recent = sorted(known.values(), key=lambda other: (other.end_ms, other.start_ms))
    settled, until_ms = state.settled, state.settled_until_ms
    for oldest in recent[:-CORRECTABLE]:
        settled, until_ms = advance(settled, oldest, policy), oldest.end_ms
    return AlertState(settled, tuple(recent[-CORRECTABLE:]), until_ms)


def _corrected(first: Contribution, window: Contribution) -> Contribution:
    """
    A window has its share of the budget once: where a feature was judged, a second look may take drift back, not raise
    it.
    """
    allowed = {*first.drifted, *first.blind}
    return replace(window, drifted={name: told for name, told in window.drifted.items() if name in allowed})


def _told(kind: IncidentKind, before: Incident | None, after: Incident | None, report: WindowReport) -> list[Alert]:
    alerts = []
    if before and before.status != "resolved" and (after is None or after.start_ms != before.start_ms):
        taken_back = Incident(before.start_ms, before.last_ms, "resolved", before.features, before.complete)
        alerts.append(_alert(kind, taken_back, report, notify=True, corrected=True))
    if after and after != before:
        known = before is not None and before.start_ms == after.start_ms
        notify = not (known and before is not None and before.status == after.status)
        if notify or (before is not None and before.features.keys() != after.features.keys()):
            alerts.append(_alert(kind, after, report, notify=notify))
    return alerts


def _alert(
    kind: IncidentKind, incident: Incident, report: WindowReport, *, notify: bool, corrected: bool = False
) -> Alert:
    name = "/".join((report.monitor, report.version, report.baseline[:12], kind, str(incident.start_ms)))
    return Alert(name, kind, report.monitor, report.version, report.baseline, incident, notify, corrected)


def _contribution(report: WindowReport, policy: AlertPolicy) -> Contribution:
    share, drifted = report.completeness.share, set(report.drifted)
    return Contribution(
        start_ms=report.window.start_ms,
        end_ms=report.window.end_ms,
        revision=report.revision,
        drifted={one.name: _evidence(one, report) for one in report.judged if one.name in drifted},
        blind=tuple(one.name for one in report.judged if one.withheld is None and not one.tests.decisive),
        complete=share is not None and share >= policy.minimum_completeness,
    )


def _evidence(feature: FeatureReport, report: WindowReport) -> dict[str, Any]:
    divergence = feature.tests.get("jensen_shannon")
    causes = [cause for cause in report.causes if cause.feature == feature.name]
    return {
        "log_p_value": feature.log_p_value,
        "divergence": divergence.effect if isinstance(divergence, Measured) else None,
        "tests": [name for name, test in feature.tests.items() if isinstance(test, Measured) and test.drifted],
        "cause": causes[0].kind if causes else None,
        "sentence": causes[0].sentence if causes else None,
    }
