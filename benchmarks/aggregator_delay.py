"""
How long after a request its results can be read: 250,000 requests in 5 minutes through the transformer, to Kafka,
through the aggregator with windows of 15 s and a watermark of 6 s, and from the topics. The transformer stands in front
of an nginx that answers a constant; all of it, and the reader, share the machine.

Of statistics and drift, what 75 % of the requests wait less than has a lower bound: three quarters of a window and the
watermark, 17.25 s.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from rich.console import Console

from benchmarks import figures
from benchmarks.serving_load import open_loop_us
from benchmarks.serving_sides import MODEL, READY_WITHIN_S, Side, data, find_programs, start_predictor
from localsystem.errors import MachineProblem
from localsystem.monitor_file import MonitorSettings, write_monitor
from localsystem.system import LocalSystem, Part
from localsystem.topics import Message, Reader
from tidegauge.features import Matrix
from tidegauge.kafka_spec import Kafka, Topics

FEATURES: Final = 30
REQUESTS: Final = 250_000
SECONDS: Final = 300.0
WINDOW_S: Final = 15
WATERMARK_S: Final = 6
OUTLIER_EVERY: Final = 50
FAR: Final = 12.0
"""By so many standard deviations the outliers are off, in every feature."""

REPORTED_WITHIN_S: Final = 60.0
"""After the last request."""


def main() -> int:
    try:
        found = delays()
    except MachineProblem as problem:
        Console(stderr=True).print(f"aggregator-delay: {problem}")
        return 2
    figures.show("Seconds from a request to its result, 75 % of the requests wait less", found, unit="s")
    figures.write("aggregator-delay", {"figures": found})
    return 0


def delays() -> dict[str, float]:
    """Seconds: outliers_p75_s, statistics_p75_s, drift_p75_s. Raises MachineProblem."""
    find_programs("nginx")
    with tempfile.TemporaryDirectory() as directory, LocalSystem(Path(directory)) as system:
        system.prepare()
        return _measured(system)


def _measured(system: LocalSystem) -> dict[str, float]:
    transformer, kafka, rows = _started(system)
    read = _Read(kafka.bootstrap_servers, kafka.topics)
    time.sleep(WINDOW_S - time.time() % WINDOW_S + 1)  # so that no request is near the end of a window it is not in
    began = time.time()
    latencies = open_loop_us(transformer, rows, per_s=round(REQUESTS / SECONDS), seconds=SECONDS)
    requested = began + 0.1 + np.arange(len(latencies)) / round(REQUESTS / SECONDS)
    windows = np.floor(requested / WINDOW_S) * WINDOW_S
    read.wait_for(set(windows.tolist()), within_s=REPORTED_WITHIN_S)
    of_windows = {
        name: np.array([arrived[start] for start in windows.tolist()]) - requested
        for name, arrived in (("statistics", read.statistics), ("drift", read.drift))
    }
    delays = {"outliers": np.array(read.outlier_delays), **of_windows}
    return {f"{name}_p75_s": round(float(np.percentile(values, 75)), 3) for name, values in delays.items()}


def _started(system: LocalSystem) -> tuple[Side, Kafka, Matrix]:
    broker = system.start_broker()
    profile, rows = data(FEATURES)
    rows = rows.copy()
    rows[::OUTLIER_EVERY] += FAR
    (system.directory / "baseline.json").write_bytes(profile.dump())
    file = system.directory / "monitor.yaml"
    broker.wait_until_ready()
    settings = MonitorSettings(broker.bootstrap_servers, "baseline.json", MODEL, WINDOW_S, WATERMARK_S)
    kafka = write_monitor(file, settings).kafka
    system.create_topics(broker, kafka.topics)
    predictor = start_predictor(system)
    behind = Part(predictor.process, predictor.port, MODEL, READY_WITHIN_S)
    part = system.start_transformer(monitor_file=file, model=MODEL, predictor=behind)
    aggregator = system.start_aggregator(monitor_file=file)
    part.wait_until_ready()
    aggregator.wait_until_ready()
    return Side("tidegauge", part.process, part.port), kafka, rows


class _Read:
    """What comes on the topics, read on a thread of its own. statistics, drift: arrival by the window's start."""

    def __init__(self, bootstrap_servers: str, topics: Topics) -> None:
        self.statistics: dict[float, float] = {}
        self.drift: dict[float, float] = {}
        self.outlier_delays: list[float] = []
        takes: dict[str, Callable[[Any, Message], None]] = {
            topics.statistics.name: lambda document, message: self._report(self.statistics, document, message),
            topics.drift.name: lambda document, message: self._report(self.drift, document, message),
            topics.outliers.name: lambda document, message: self.outlier_delays.append(
                message.read_at_s - document["time_ms"] / 1000
            ),
        }
        self._reader, self._takes = Reader(bootstrap_servers, list(takes)), takes
        threading.Thread(target=self._run, daemon=True).start()

    def wait_for(self, windows: set[float], *, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not (windows <= self.statistics.keys() and windows <= self.drift.keys()):
            if time.monotonic() > deadline:
                sys.exit(f"no report on {len(windows - self.statistics.keys())} of {len(windows)} windows")
            time.sleep(0.1)

    def _run(self) -> None:
        while True:
            for message in self._reader.read(within_s=0.05):
                self._takes[message.topic](orjson.loads(message.value), message)

    @staticmethod
    def _report(arrived: dict[float, float], document: Any, message: Message) -> None:
        arrived.setdefault(document["window"]["start_ms"] / 1000, message.read_at_s)


if __name__ == "__main__":
    sys.exit(main())
