"""All ways out: the outboxes, and a courier for each sink that the settings name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aggregator.clock import clock_ms
from aggregator.courier import Courier, Sink
from aggregator.evaluate import ALERT, DEAD_LETTER, DRIFT, LATE, PROVISIONAL, REPORT
from aggregator.outbox import Outbox
from aggregator.settings import Settings
from aggregator.sinks.kafka import KafkaSink
from aggregator.sinks.parquet import ParquetSink
from aggregator.sinks.sql import SqlSink, SqlStore
from aggregator.sinks.webhook import WebhookSink

ALERTS_BYTES: Final = 64 << 20
"""Alerts alone, for webhooks: one that is never answered must not keep all reports on disk."""

FINISH_S: Final = 5.0
"""How long a stop waits for the sinks; what they have not taken by then they take after the next start."""


class Deliveries:
    """From entering to leaving, each sink takes what is in its outbox. Raises OSError."""

    def __init__(self, settings: Settings, store: SqlStore) -> None:
        directory = settings.checkpoint / "outbox"
        self._everything = Outbox(
            directory / "everything",
            (REPORT, DRIFT, ALERT, DEAD_LETTER, LATE, PROVISIONAL),
            maximum_bytes=settings.maximum_outbox_bytes,
        )
        self._alerts = Outbox(directory / "alerts", (ALERT,), maximum_bytes=ALERTS_BYTES)
        sinks = _sinks(settings, store)
        webhooks = [
            WebhookSink(endpoint, directory / f"{endpoint.monitor}.{endpoint.webhook.name}.told", clock_ms)
            for endpoint in settings.endpoints
        ]
        self.couriers = [
            *(Courier(sink, self._everything) for sink in sinks),
            *(Courier(webhook, self._alerts) for webhook in webhooks),
        ]
        self._everything.follow([sink.name for sink in sinks])
        self._alerts.follow([webhook.name for webhook in webhooks])

    @property
    def outboxes(self) -> Sequence[Outbox]:
        return (self._alerts, self._everything)

    def __enter__(self) -> Deliveries:
        for courier in self.couriers:
            courier.start()
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + FINISH_S
        for courier in self.couriers:
            courier.finish(deadline=deadline)
        for outbox in self.outboxes:
            outbox.close()


def _sinks(settings: Settings, store: SqlStore) -> list[Sink]:
    monitors = settings.catalogue.monitors
    kept = {name: monitor.aggregator.retention_ms for name, monitor in monitors.items()}
    files = {name: Path(monitor.aggregator.parquet) for name, monitor in monitors.items() if monitor.aggregator.parquet}
    sinks: list[Sink] = [
        KafkaSink(settings.brokers),
        SqlSink(store, {name: ms for name, ms in kept.items() if ms is not None}, clock_ms),
    ]
    return [*sinks, ParquetSink(files)] if files else sinks
