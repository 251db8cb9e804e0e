"""
What /metrics tells of the monitoring itself, beside the KServe SDK's own metrics.

Plain numbers, turned into metric families when Prometheus asks: the client library's counters would cost each request
more than its scoring. Every label's values come from a bounded set. With several workers, whichever is asked answers
for all of them (workers.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any, Final, Protocol, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from tidegauge.records import Account
from transformer.served import ServedRequest

UPSTREAM_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
ADDED_BUCKETS_S: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0)
_CLASSES: Final = {status: f"{status // 100}xx" for status in range(100, 600)}

Snapshot: TypeAlias = dict[str, dict[str, float]]
"""A worker's numbers: by family, then by its labels' values, joined with "|"; of a histogram, by bucket, and "sum"."""

COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "tidegauge_requests": ("Answers to predict and infer requests.", ("protocol", "status")),
    "tidegauge_served": ("Requests that have a record to account for.", ()),
    "tidegauge_records": (
        "Records that came to an end: acknowledged by Kafka, dropped, left out by sampling; left on disk by a worker "
        "that ended, for another; unknown, in flight in a worker that was killed.",
        ("outcome", "reason"),
    ),
    "tidegauge_inherited_records": (
        "Records that an earlier process left on disk, by how they ended.",
        ("outcome", "reason"),
    ),
    "tidegauge_spool_damaged_files": ("Files of the spool that could not be read and were set aside.", ()),
    "tidegauge_rows": ("Rows scored.", ()),
    "tidegauge_outliers": ("Rows flagged as outliers.", ()),
    "tidegauge_late_rows": ("Rows left to be scored after their answers.", ()),
    "tidegauge_rejected": ("Requests answered 422 for an outlier.", ()),
    "tidegauge_issues": ("Requests with an issue of this kind.", ("kind",)),
}
GAUGES: Final[Mapping[str, str]] = {
    "tidegauge_records_in_flight": "Records with no end yet.",
    "tidegauge_records_spooled": "Records on disk that wait for Kafka.",
    "tidegauge_queue_messages": "Messages that Kafka has not confirmed.",
    "tidegauge_spool_records": "Records in the spool's files: those that wait, those under way, and inherited ones.",
    "tidegauge_spool_bytes": "What the spool takes up on disk.",
}
HISTOGRAMS: Final[Mapping[str, tuple[str, tuple[float, ...]]]] = {
    "tidegauge_upstream_seconds": ("From the request's writing to the answer's end.", UPSTREAM_BUCKETS_S),
    "tidegauge_added_seconds": ("Time in the transformer beside the predictor's.", ADDED_BUCKETS_S),
}


class Histogram:
    """Counts of durations in seconds per bucket; bounds are inclusive upper ends."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def numbers(self) -> dict[str, float]:
        return {**{str(position): count for position, count in enumerate(self._counts)}, "sum": self._sum}


class Spooling(Protocol):
    """Of a process with a spool."""

    @property
    def records(self) -> int: ...
    @property
    def used_bytes(self) -> int: ...
    @property
    def damaged(self) -> int: ...


class Workers(Protocol):
    """The other processes that serve the same port."""

    def together(self, own: Snapshot) -> Snapshot: ...


class Metrics(Collector):  # type: ignore[misc]  # prometheus_client's types are not followed
    """
    account: the ledger's; waiting: how many messages Kafka has not confirmed; inherited: records of earlier processes
    by how they ended, "acknowledged" or a reason of capture.DROP_REASONS.
    """

    def __init__(
        self,
        account: Callable[[], Account],
        waiting: Callable[[], int],
        *,
        spool: Spooling | None = None,
        inherited: Mapping[str, int] | None = None,
    ) -> None:
        self._account, self._waiting = account, waiting
        self._spool = spool
        self._inherited = {} if inherited is None else inherited  # an empty one fills later
        self.workers: Workers | None = None
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

    def snapshot(self) -> Snapshot:
        """Of one instant: its account balances."""
        account, spool = self._account(), self._spool
        ended: dict[str, float] = {"acknowledged|": account.acknowledged, "sampled_out|": account.sampled_out}
        return {
            "tidegauge_requests": {"|".join(of): number for of, number in self.answers.items()},
            "tidegauge_served": {"": account.served},
            "tidegauge_records": ended | {f"dropped|{reason}": number for reason, number in account.dropped.items()},
            "tidegauge_inherited_records": {_outcome(reason): number for reason, number in self._inherited.items()},
            "tidegauge_spool_damaged_files": {"": spool.damaged if spool else 0},
            "tidegauge_rows": {"": self.rows},
            "tidegauge_outliers": {"": self.outliers},
            "tidegauge_late_rows": {"": self.late},
            "tidegauge_rejected": {"": self.rejected},
            "tidegauge_issues": dict(self.issues),
            "tidegauge_records_in_flight": {"": account.in_flight},
            "tidegauge_records_spooled": {"": account.spooled},
            "tidegauge_queue_messages": {"": self._waiting()},
            "tidegauge_spool_records": {"": spool.records if spool else 0},
            "tidegauge_spool_bytes": {"": spool.used_bytes if spool else 0},
            "tidegauge_upstream_seconds": self._upstream.numbers(),
            "tidegauge_added_seconds": self._added.numbers(),
        }

    def collect(self) -> Iterable[Any]:
        numbers = self.snapshot()
        if self.workers is not None:
            numbers = self.workers.together(numbers)
        for name, (text, labels) in COUNTERS.items():
            yield _filled(CounterMetricFamily(name, text, labels=labels), numbers[name])
        for name, text in GAUGES.items():
            yield _filled(GaugeMetricFamily(name, text, labels=()), numbers[name])
        for name, (text, bounds) in HISTOGRAMS.items():
            yield _histogram(name, text, bounds, numbers[name])


def register(metrics: Metrics, registry: CollectorRegistry) -> None:
    registry.register(metrics)


def _outcome(ended: str) -> str:
    return "acknowledged|" if ended == "acknowledged" else f"dropped|{ended}"


def _filled(family: Any, values: Mapping[str, float]) -> Any:
    for labels, number in values.items():
        family.add_metric(labels.split("|") if labels else (), number)
    return family


def _histogram(name: str, text: str, bounds: tuple[float, ...], values: Mapping[str, float]) -> Any:
    counts = accumulate(values[str(position)] for position in range(len(bounds) + 1))
    buckets = list(zip([*map(str, bounds), "+Inf"], counts, strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=values["sum"])
