"""
What /metrics tells: the latest verdicts, alerts that fire, how the stream gets on and how the sinks do.

Plain numbers, turned into metric families when Prometheus asks. Labels are bounded: monitors, sinks and reasons by
configuration and code, model versions by the latest of each monitor.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from aggregator.courier import Courier
from aggregator.durable import write_durably
from aggregator.errors import StartError
from aggregator.evaluate import ALERT, CLOSED, LATE, STATE, TALLY
from aggregator.outbox import Outbox
from aggregator.watching import MicroBatch

VERSIONS: Final = 10
"""Of a monitor, those with the latest windows."""

log = logging.getLogger("aggregator")

_Labels = tuple[str, ...]


class Metrics(Collector):  # type: ignore[misc]  # prometheus_client's types are not followed
    """open_alerts: file that remembers the incidents that are open, over restarts."""

    def __init__(self, open_alerts: Path) -> None:
        self._file = open_alerts
        self._couriers: Sequence[Courier] = ()
        self._outboxes: Sequence[Outbox] = ()
        self._lock = threading.Lock()
        self._latest: dict[str, dict[str, dict[str, Any]]] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._windows: Counter[_Labels] = Counter()
        self._dead: Counter[_Labels] = Counter()
        self._records = 0
        self._batch: MicroBatch | None = None
        self._open: dict[str, _Labels] = {}
        if open_alerts.exists():
            self._open = {name: tuple(labels) for name, labels in orjson.loads(open_alerts.read_bytes()).items()}

    def output(self, kind: str, document: dict[str, Any]) -> None:
        """As job.Watcher."""
        with self._lock:
            if kind == CLOSED:
                self._closed(document)
            elif kind == ALERT:
                self._alert(document)
            elif kind == STATE:
                self._states[document["monitor"]] = document
            elif kind == TALLY:
                self._dead[document["reason"],] += document["count"]
            elif kind == LATE:
                self._dead[document["reason"],] += document["records"]

    def progressed(self, batch: MicroBatch) -> None:
        with self._lock:
            self._batch = batch
            self._records += batch.records

    def follow(self, couriers: Sequence[Courier], outboxes: Sequence[Outbox], monitors: Iterable[str]) -> None:
        """Those that it tells of from now on; others are forgotten."""
        with self._lock:
            self._couriers, self._outboxes = couriers, outboxes
            known = set(monitors)
            for remembered in (self._latest, self._states):
                for name in set(remembered) - known:
                    del remembered[name]
            self._open = {name: labels for name, labels in self._open.items() if labels[0] in known}

    def collect(self) -> Iterable[Any]:
        with self._lock:
            yield from self._verdicts()
            yield from self._stream()
        yield from self._sinks()

    def _closed(self, document: dict[str, Any]) -> None:
        monitor = document["monitor"]
        self._windows[monitor, document["verdict"]] += 1
        versions = self._latest.setdefault(monitor, {})
        known = versions.get(document["version"])
        if known is None or document["end_ms"] >= known["end_ms"]:
            versions[document["version"]] = document
        while len(versions) > VERSIONS:
            del versions[min(versions, key=lambda version: versions[version]["end_ms"])]

    def _alert(self, document: dict[str, Any]) -> None:
        if document["status"] == "resolved":
            self._open.pop(document["id"], None)
        else:
            self._open[document["id"]] = (document["monitor"], document["about"], document["severity"])
        try:
            write_durably(self._file, lambda file: file.write(orjson.dumps(self._open)))
        except OSError as error:
            log.warning("open_alerts_unwritable %s", error.strerror)

    def _verdicts(self) -> Iterable[Any]:
        named = ("monitor", "version")
        latest = {(m, v): told for m, versions in self._latest.items() for v, told in versions.items()}
        for name, text in _GAUGES.items():
            values = {labels: told[name] for labels, told in latest.items() if told[name] is not None}
            yield _gauge(f"tidegauge_{name}", text, named, values)
        ends = {labels: told["end_ms"] / 1000 for labels, told in latest.items()}
        yield _gauge("tidegauge_window_end_seconds", "End of the latest window, UTC epoch.", named, ends)
        effects = {
            (*labels, test): effect for labels, told in latest.items() for test, effect in told["worst_effects"].items()
        }
        yield _gauge(
            "tidegauge_worst_effect",
            "Largest effect of a drift test over the features of the latest window, in the test's unit.",
            (*named, "test"),
            effects,
        )
        yield _counter("tidegauge_windows", "Reports, corrected ones included.", ("monitor", "verdict"), self._windows)
        firing = Counter(self._open.values())
        yield _gauge("tidegauge_alerts_firing", "Incidents that are open.", ("monitor", "about", "severity"), firing)

    def _stream(self) -> Iterable[Any]:
        yield _counter("tidegauge_dead_letters", "Records that no report has.", ("reason",), self._dead)
        for name, text, scale in _STATES:
            values = {(monitor,): state[name] * scale for monitor, state in self._states.items()}
            yield _gauge(f"tidegauge_{_STATE_NAMES.get(name, name)}", text, ("monitor",), values)
        yield CounterMetricFamily("tidegauge_messages", "Messages read from Kafka.", self._records)
        if self._batch is not None:
            behind = {(topic,): count for topic, count in self._batch.behind.items()}
            yield _gauge("tidegauge_behind_messages", "Messages that wait in Kafka.", ("topic",), behind)
            for name, text, value in _BATCHES:
                yield GaugeMetricFamily(name, text, value(self._batch))

    def _sinks(self) -> Iterable[Any]:
        couriers = {(courier.sink.name,): courier for courier in self._couriers}
        for name, text, family, value in _SINKS:
            yield family(name, text, ("sink",), {labels: value(courier) for labels, courier in couriers.items()})
        yield GaugeMetricFamily(
            "tidegauge_outbox_bytes",
            "What waits for sinks, on disk.",
            sum(outbox.size_bytes for outbox in self._outboxes),
        )


def serve(metrics: Metrics, port: int) -> Callable[[], None]:
    """Returns what ends it. Raises StartError when the port is taken."""
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        raise StartError(f"--metrics-port {port}: {error.strerror}; give a free one") from error

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end


_GAUGES: Final = {
    "drifted": "1 where the latest window has drifted.",
    "drifted_features": "Features that have drifted in the latest window.",
    "completeness": "Share of the served traffic that the latest window saw; missing where unknown.",
    "window_requests": "Requests in the latest window.",
    "outlier_rate": "Share of the latest window's rows that were flagged.",
}

_BATCHES: Final[Sequence[tuple[str, str, Callable[[MicroBatch], float]]]] = (
    ("tidegauge_micro_batch_seconds", "What the last micro-batch took.", lambda batch: batch.took_s),
    ("tidegauge_micro_batch_end_seconds", "When the last one ended well, UTC epoch.", lambda batch: batch.ended_s),
    ("tidegauge_state_rows", "Rows in the state store.", lambda batch: batch.state_rows),
    ("tidegauge_state_memory_bytes", "Memory of the state store.", lambda batch: batch.state_memory_bytes),
)

_STATES: Final = (
    ("lag_ms", "How far the monitor's event time is behind the clock.", 0.001),
    ("open_windows", "Windows that are not closed yet.", 1),
    ("kept_windows", "Closed windows that can still be corrected.", 1),
    ("state_bytes", "Summaries in the state, encoded.", 1),
)
_STATE_NAMES: Final = {"lag_ms": "event_time_lag_seconds"}


def _gauge(name: str, text: str, labels: _Labels, values: Mapping[Any, float]) -> Any:
    return _filled(GaugeMetricFamily(name, text, labels=labels), values)


def _counter(name: str, text: str, labels: _Labels, values: Mapping[Any, float]) -> Any:
    return _filled(CounterMetricFamily(name, text, labels=labels), values)


def _filled(family: Any, values: Mapping[Any, float]) -> Any:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


_SINKS: Final[Sequence[tuple[str, str, Callable[..., Any], Callable[[Courier], float]]]] = (
    ("tidegauge_sink_failures", "Attempts that failed.", _counter, lambda courier: courier.failures),
    ("tidegauge_sink_delivered", "Entries of the outbox that were delivered.", _counter, lambda one: one.delivered),
    ("tidegauge_sink_refused", "Outputs that a sink will never take.", _counter, lambda courier: courier.refused),
    ("tidegauge_sink_waiting", "Entries of the outbox that wait.", _gauge, lambda courier: courier.waiting),
    ("tidegauge_sink_failing", "1 while the last attempt has failed.", _gauge, lambda one: float(one.failing)),
)
