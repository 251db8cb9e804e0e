"""Alerts over HTTP: as JSON, for Slack, for Alertmanager."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from aggregator.courier import Refused, SinkFailed
from aggregator.durable import write_durably
from aggregator.errors import StartError
from aggregator.evaluate import ALERT, Output
from aggregator.sinks import notices
from tidegauge.monitor import ModelMonitor
from tidegauge.webhooks_spec import Webhook

REPEAT_S: Final = 60.0
"""Alertmanager forgets what fires when it is restarted, and is told again so often."""

OPEN_MS: Final = 24 * 3_600_000
"""So long Alertmanager takes an alert to fire when nobody tells it anything any more."""

REMEMBERED: Final = 1_000
"""Alerts that were told, the latest; and incidents that are open."""

_HOPELESS: Final = (400, 413, 422)


@dataclass(frozen=True)
class Endpoint:
    """A webhook of a monitor, with its secrets."""

    monitor: str
    webhook: Webhook
    url: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.monitor}, {self.webhook.name})"


def endpoints_of(monitor: ModelMonitor, environment: Mapping[str, str]) -> list[Endpoint]:
    """Raises StartError when a variable is missing."""
    return [_endpoint(monitor.name, webhook, environment) for webhook in monitor.alerts.webhooks]


def _endpoint(monitor: str, webhook: Webhook, environment: Mapping[str, str]) -> Endpoint:
    for variable in (webhook.url_env, webhook.token_env):
        if variable is not None and not environment.get(variable):
            raise StartError(f"monitor {monitor}: webhook {webhook.name}: set the environment variable {variable}")
    url = webhook.url if webhook.url_env is None else environment[webhook.url_env]
    if url is None or not url.startswith(("http://", "https://")):
        raise StartError(
            f"monitor {monitor}: webhook {webhook.name}: {webhook.url_env} must begin with http:// or https://"
        )
    return Endpoint(monitor, webhook, url, environment[webhook.token_env] if webhook.token_env else None)


class WebhookSink:
    """
    ledger: file that remembers what was told, so that after a crash only the alert that was just being told may come
    twice; then with the same Idempotency-Key.
    """

    def __init__(self, endpoint: Endpoint, ledger: Path, clock_ms: Callable[[], int]) -> None:
        self.name = f"webhook.{endpoint.monitor}.{endpoint.webhook.name}"
        self._endpoint, self._file, self._clock_ms = endpoint, ledger, clock_ms
        known = orjson.loads(ledger.read_bytes()) if ledger.exists() else {"told": [], "open": {}}
        self._told: list[str] = known["told"]
        self._open: dict[str, dict[str, Any]] = known["open"]
        self._repeated_s = 0.0
        headers = {"authorization": f"Bearer {endpoint.token}"} if endpoint.token else {}
        self._client = httpx.Client(timeout=endpoint.webhook.timeout_ms / 1000, headers=headers)

    def write(self, outputs: Sequence[Output]) -> None:
        refused: list[Output] = []
        for output in outputs:
            alert = orjson.loads(output.value) if output.kind == ALERT else None
            if alert is None or not self._concerns(alert):
                continue
            key = f"{alert['id']}/{alert['status']}/{alert['last_ms']}"
            if key in self._told:
                continue
            if not self._post(self._body(alert), key):
                refused.append(output)
            self._remember(alert, key)
        if refused:
            raise Refused("the webhook does not take this alert", refused)

    def idle(self) -> None:
        if self._endpoint.webhook.format != "alertmanager" or time.monotonic() - self._repeated_s < REPEAT_S:
            return
        if self._open:
            self._post([self._firing(alert) for alert in self._open.values()], f"repeated/{self._clock_ms()}")
        self._repeated_s = time.monotonic()

    def close(self) -> None:
        self._client.close()

    def _concerns(self, alert: Mapping[str, Any]) -> bool:
        webhook = self._endpoint.webhook
        wanted = alert["notify"] or webhook.updates or webhook.format == "alertmanager"
        return bool(wanted and alert["monitor"] == self._endpoint.monitor)

    def _body(self, alert: Mapping[str, Any]) -> Any:
        if self._endpoint.webhook.format == "slack":
            return notices.slack(alert)
        if self._endpoint.webhook.format == "json":
            return alert
        before = self._open.get(alert["id"])
        told = [self._firing(alert) if alert["status"] != "resolved" else self._resolved(alert)]
        if before and before["severity"] != alert["severity"]:
            told.append(self._resolved(before))  # to Alertmanager, another severity is another alert
        return told

    def _firing(self, alert: Mapping[str, Any]) -> dict[str, Any]:
        return notices.alertmanager(alert, ends_ms=self._clock_ms() + OPEN_MS)

    def _resolved(self, alert: Mapping[str, Any]) -> dict[str, Any]:
        return notices.alertmanager(alert, ends_ms=self._clock_ms())

    def _post(self, body: Any, key: str) -> bool:
        """Whether it was taken; False when it never will be. Raises SinkFailed."""
        headers = {"content-type": "application/json", "idempotency-key": key}
        try:
            status = self._client.post(self._endpoint.url, content=orjson.dumps(body), headers=headers).status_code
        except httpx.HTTPError as error:
            raise SinkFailed(type(error).__name__) from None  # its text has the address, which may be a secret
        if 200 <= status < 300:
            return True
        if status in _HOPELESS:
            return False
        raise SinkFailed(f"answered {status}")

    def _remember(self, alert: dict[str, Any], key: str) -> None:
        self._told = [*self._told, key][-REMEMBERED:]
        self._open.pop(alert["id"], None)
        if alert["status"] != "resolved":
            self._open[alert["id"]] = alert
        while len(self._open) > REMEMBERED:
            del self._open[next(iter(self._open))]
        write_durably(self._file, lambda file: file.write(orjson.dumps({"told": self._told, "open": self._open})))
