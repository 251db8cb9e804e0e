"""The monitor's list `alerts.webhooks`: who is told of alerts over HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tidegauge.errors import InvalidMonitor
from tidegauge.sections import Section

FORMATS: Final = ("json", "slack", "alertmanager")
MAXIMUM_WEBHOOKS: Final = 20

_URL: Final = re.compile(r"https?://\S+")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Webhook:
    """
    name: for logs and metrics, and of where delivery has come to. format: json, the alert's document; slack, an
    incoming webhook's message; alertmanager, its API v2. url, or url_env: the environment variable that has it.
    token_env: the variable with a bearer token. updates: also tell what notifies nobody, as features that join.
    """

    name: str
    format: str
    url: str | None = None
    url_env: str | None = None
    token_env: str | None = None
    timeout_ms: int = 10_000
    updates: bool = False


def parse_webhooks(sections: list[Section]) -> tuple[Webhook, ...]:
    webhooks = tuple(map(_webhook, sections))
    if len(webhooks) > MAXIMUM_WEBHOOKS:
        raise InvalidMonitor("spec.alerts.webhooks", f"at most {MAXIMUM_WEBHOOKS}", len(webhooks))
    names = [webhook.name for webhook in webhooks]
    if len(set(names)) < len(names):
        raise InvalidMonitor("spec.alerts.webhooks", "different names", names)
    return webhooks


def _webhook(section: Section) -> Webhook:
    section.only("name", "format", "url", "urlEnv", "tokenEnv", "timeout", "updates")
    if section.has("url") == section.has("urlEnv"):
        raise InvalidMonitor(section.path, "exactly one of url, urlEnv", None)
    variable = "the name of an environment variable"
    timeout_ms = section.duration_ms("timeout", Webhook.timeout_ms)
    if not 100 <= timeout_ms <= 60_000:
        raise InvalidMonitor(section.at("timeout"), "a duration from 100ms to 1m", section.get("timeout"))
    return Webhook(
        name=section.matching("name", _NAME, "lower-case letters, digits and '-'"),
        format=section.choice("format", FORMATS),
        url=section.matching("url", _URL, "an address with http:// or https://") if section.has("url") else None,
        url_env=section.matching("urlEnv", _VARIABLE, variable) if section.has("urlEnv") else None,
        token_env=section.matching("tokenEnv", _VARIABLE, variable) if section.has("tokenEnv") else None,
        timeout_ms=timeout_ms,
        updates=section.boolean("updates", Webhook.updates),
    )
