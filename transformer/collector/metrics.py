"""What /metrics tells of the collector itself, beside what it tells of the records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector as MetricsCollector

from transformer.collector.collecting import Collector


class CollectorMetrics(MetricsCollector):  # type: ignore[misc]  # prometheus_client's types are not followed
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterable[Any]:
        collector = self._collector
        events = CounterMetricFamily(
            "tidegauge_events", "Events received, by what became of them.", labels=("outcome",)
        )
        for outcome, number in collector.outcomes.items():
            events.add_metric((outcome,), number)
        yield events
        yield CounterMetricFamily(
            "tidegauge_event_times_replaced", "Requests whose event time could not be theirs.", collector.odd_times
        )
        pairs = collector.pairs
        yield GaugeMetricFamily("tidegauge_pending_requests", "Requests that wait for their other half.", len(pairs))
        yield GaugeMetricFamily("tidegauge_pending_bytes", "What they hold in memory.", pairs.bytes)
