"""Alerts in the words of those who are told: documents into bodies of webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

NAMED_FEATURES: Final = 5

_WHAT: Final = {
    ("drift", "firing"): "has drifted",
    ("drift", "reopened"): "has drifted again",
    ("drift", "resolved"): "is back to its baseline",
    ("blind", "firing"): "cannot be judged any more",
    ("blind", "reopened"): "cannot be judged again",
    ("blind", "resolved"): "can be judged again",
}


def headline(alert: Mapping[str, Any]) -> str:
    what = "was no drift after all" if alert["corrected"] else _WHAT[alert["about"], alert["status"]]
    return f"{alert['monitor']} (model version {alert['version']}) {what}: {_names(alert['features'])}"


def sentences(alert: Mapping[str, Any]) -> list[str]:
    """The evidence, the worst feature first, and what weakens it."""
    told = [feature["evidence"].get("sentence") for feature in alert["features"][:NAMED_FEATURES]]
    caveat = [] if alert["complete"] else ["Not all of the traffic behind this was seen."]
    return [sentence for sentence in told if sentence] + caveat


def slack(alert: Mapping[str, Any]) -> dict[str, Any]:
    """A message for Slack's incoming webhooks, and for those that understand the same."""
    mark = ":white_check_mark:" if alert["status"] == "resolved" else _SLACK_MARKS[alert["severity"]]
    lines = [f"{mark} *{_escaped(headline(alert))}*", *(f"• {_escaped(one)}" for one in sentences(alert))]
    lines.append(f"since {time_of(alert['start_ms'])}, {alert['severity']}, `{_escaped(alert['id'])}`")
    return {"text": "\n".join(lines)}


_SLACK_MARKS: Final = {"warning": ":warning:", "critical": ":rotating_light:"}


def alertmanager(alert: Mapping[str, Any], *, ends_ms: int) -> dict[str, Any]:
    """
    One alert of Alertmanager's API v2. ends_ms: when it is over; in the future while it fires. Its labels tell
    Alertmanager which alert it is: one incident keeps them while its severity stays.
    """
    return {
        "labels": {
            "alertname": "TidegaugeDrift" if alert["about"] == "drift" else "TidegaugeBlind",
            "monitor": alert["monitor"],
            "model_version": alert["version"],
            "incident": alert["id"],
            "severity": alert["severity"],
        },
        "annotations": {
            "summary": headline(alert),
            "description": "\n".join(sentences(alert)),
            "features": _names(alert["features"]),
        },
        "startsAt": time_of(alert["start_ms"]),
        "endsAt": time_of(ends_ms),
    }


def time_of(epoch_ms: int) -> str:
    """RFC 3339, UTC."""
    moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _names(features: Sequence[Mapping[str, Any]]) -> str:
    names = [feature["name"] for feature in features]
    more = len(names) - NAMED_FEATURES
    return ", ".join(names[:NAMED_FEATURES]) + (f" and {more} more" if more > 0 else "")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
