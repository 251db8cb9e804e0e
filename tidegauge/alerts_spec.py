"""The monitor's section `alerts`: what it takes before somebody is told."""

from __future__ import annotations

from dataclasses import dataclass

from tidegauge.sections import Section
from tidegauge.webhooks_spec import Webhook, parse_webhooks


@dataclass(frozen=True)
class AlertPolicy:
    """Windows are counted without overlap: of sliding ones only those that begin after the last one counted."""

    consecutive_windows: int = 2
    """In so many a feature must have drifted, none without drift between them, before it fires."""
    resolve_after: int = 2
    """After so many without drift it is resolved."""
    blind_after: int = 40
    """After so many in which a feature could not be judged, that is an alert of its own."""
    reopen_within_ms: int = 3_600_000
    """What fires again so soon after it was resolved is the same incident."""
    minimum_completeness: float = 0.95
    """An alert says so when a window behind it saw a smaller share of the traffic, or an unknown one."""
    webhooks: tuple[Webhook, ...] = ()


def parse_alerts(section: Section) -> AlertPolicy:
    section.only("consecutiveWindows", "resolveAfter", "blindAfter", "reopenWithin", "minimumCompleteness", "webhooks")
    default = AlertPolicy()
    return AlertPolicy(
        consecutive_windows=section.integer("consecutiveWindows", default.consecutive_windows, low=1),
        resolve_after=section.integer("resolveAfter", default.resolve_after, low=1),
        blind_after=section.integer("blindAfter", default.blind_after, low=1),
        reopen_within_ms=section.duration_ms("reopenWithin", default.reopen_within_ms),
        minimum_completeness=section.number(
            "minimumCompleteness", default.minimum_completeness, above=-1e-300, below=1.0 + 1e-9
        ),
        webhooks=parse_webhooks(section.sections("webhooks")),
    )
