"""Where reports and alerts go, as the monitor file says it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.examples import monitor_document
from tidegauge.aggregator_spec import AggregatorSpec
from tidegauge.errors import InvalidMonitor
from tidegauge.monitor import parse_monitor
from tidegauge.webhooks_spec import Webhook


def webhooks(*documents: dict[str, Any]) -> tuple[Webhook, ...]:
    return parse_monitor(monitor_document(alerts={"webhooks": list(documents)})).alerts.webhooks


def test_webhooks_have_an_address_or_the_variable_that_has_it() -> None:
    assert webhooks(
        {"name": "ops", "url": "http://x", "tokenEnv": "TOKEN", "timeout": "5s", "updates": True},
        {"name": "chat", "format": "slack", "urlEnv": "CHAT"},
    ) == (
        Webhook("ops", "json", "http://x", None, "TOKEN", 5_000, True),
        Webhook("chat", "slack", None, "CHAT"),
    )
    assert webhooks() == ()


@pytest.mark.parametrize(
    ("webhook", "path"),
    [
        ({"name": "a"}, r"spec\.alerts\.webhooks\[0\]"),
        ({"name": "a", "url": "http://x", "urlEnv": "X"}, r"spec\.alerts\.webhooks\[0\]"),
        ({"name": "A", "url": "http://x"}, r"spec\.alerts\.webhooks\[0\]\.name"),
        ({"name": "a", "url": "x"}, r"spec\.alerts\.webhooks\[0\]\.url"),
        ({"name": "a", "url": "http://x", "format": "mail"}, r"spec\.alerts\.webhooks\[0\]\.format"),
        ({"name": "a", "url": "http://x", "timeout": "2m"}, r"spec\.alerts\.webhooks\[0\]\.timeout"),
        ({"name": "a", "url": "http://x", "secret": "x"}, r"spec\.alerts\.webhooks\[0\]\.secret"),
    ],
)
def test_a_webhook_that_cannot_work_is_named(webhook: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidMonitor, match=path):
        webhooks(webhook)


def test_names_differ() -> None:
    with pytest.raises(InvalidMonitor, match="different names"):
        webhooks({"name": "a", "url": "http://x"}, {"name": "a", "url": "http://y"})
    with pytest.raises(InvalidMonitor, match="at most 20"):
        webhooks(*({"name": f"a{number}", "url": "http://x"} for number in range(21)))


def test_webhooks_are_a_list() -> None:
    with pytest.raises(InvalidMonitor, match=r"spec\.alerts\.webhooks: expected a list"):
        parse_monitor(monitor_document(alerts={"webhooks": {"name": "a"}}))


def test_the_store_its_retention_and_files() -> None:
    given = {"store": "sqlite://", "retention": "2h", "parquet": "reports/"}
    assert parse_monitor(monitor_document(aggregator=given)).aggregator == AggregatorSpec(
        "sqlite://", 7_200_000, "reports/"
    )
    with pytest.raises(InvalidMonitor, match=r"spec\.aggregator\.retention"):
        parse_monitor(monitor_document(aggregator={"retention": "10s"}))
