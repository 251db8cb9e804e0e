"""
What /metrics tells of the monitoring itself, beside the KServe SDK's own metrics.

Plain numbers, turned into metric families when Prometheus asks: the client library's counters would cost each request
more than its scoring. Every label's values come from a bounded set.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from tidegauge.records import Account
from transformer.served import ServedRequest

UPSTREAM_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_CLASSES: Final = {status: f"{status // 100}xx" for status in range(100, 600)}
ADDED_BUCKETS_S: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0)


class Histogram:
    """Counts of durations in seconds per bucket; bounds are inclusive upper ends."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def family(self, name: str, text: str) -> Any:
        bounds = [*map(str, self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum)


class Metrics(Collector):  # type: ignore[misc]  # prometheus_client's types are not followed
    """account: the ledger's; waiting: how many messages Kafka has not confirmed."""

    def __init__(self, account: Callable[[], Account], waiting: Callable[[], int]) -> None:
        self._account, self._waiting = account, waiting
        self.answers: Counter[tuple[str, str]] = Counter()
        self.issues: Counter[str] = Counter()
        self.rows = self.outliers = self.late = self.rejected = 0
        self._upstream, self._added = Histogram(UPSTREAM_BUCKETS_S), Histogram(ADDED_BUCKETS_S)

    def count_answer(self, protocol: str, status: int) -> None:
        self.answers[protocol, _CLASSES.get(status) or "unknown"] += 1

    def count_served(self, request: ServedRequest) -> None:
        self.count_answer(request.protocol, request.status)
        self._upstream.observe(request.upstream_s)
        self._added.observe(max(0.0, request.latency_s - request.upstream_s))
        if request.scored is not None:
            self.rows += len(request.scored.outlier)
            self.outliers += sum(request.scored.outlier)
        self.late += request.late
        self.rejected += request.rejected

    def count_issues(self, kinds: Iterable[str]) -> None:
        self.issues.update(list(kinds))  # of a mapping, its numbers would be added

    def collect(self) -> Iterable[Any]:
        account = self._account()
        yield _counter(
            "tidegauge_requests", "Answers to predict and infer requests.", ("protocol", "status"), self.answers
        )
        yield CounterMetricFamily("tidegauge_served", "Requests that have a record to account for.", account.served)
        yield _counter(
            "tidegauge_records",
            "Records that came to an end: acknowledged by Kafka, dropped, or left out by sampling.",
            ("outcome", "reason"),
            {("acknowledged", ""): account.acknowledged, ("sampled_out", ""): account.sampled_out}
            | {("dropped", reason): number for reason, number in account.dropped.items()},
        )
        yield GaugeMetricFamily("tidegauge_records_in_flight", "Records with no end yet.", account.in_flight)
        yield GaugeMetricFamily("tidegauge_queue_messages", "Messages that Kafka has not confirmed.", self._waiting())
        yield CounterMetricFamily("tidegauge_rows", "Rows scored.", self.rows)
        yield CounterMetricFamily("tidegauge_outliers", "Rows flagged as outliers.", self.outliers)
        yield CounterMetricFamily("tidegauge_late_rows", "Rows left to be scored after their answers.", self.late)
        yield CounterMetricFamily("tidegauge_rejected", "Requests answered 422 for an outlier.", self.rejected)
        kinds = {(kind,): number for kind, number in self.issues.items()}
        yield _counter("tidegauge_issues", "Requests with an issue of this kind.", ("kind",), kinds)
        yield self._upstream.family("tidegauge_upstream_seconds", "From the request's writing to the answer's end.")
        yield self._added.family("tidegauge_added_seconds", "Time in the transformer beside the predictor's.")


def register(metrics: Metrics, registry: CollectorRegistry) -> None:
    registry.register(metrics)


def _counter(name: str, text: str, labels: tuple[str, ...], values: Any) -> Any:
    family = CounterMetricFamily(name, text, labels=labels)
    for of, number in values.items():
        family.add_metric(of, number)
    return family
