"""
What the aggregator gets through on two cores, beside a query that only reads and counts the same topic in the same run;
with two workers beside one (aggregator_workers.py); and how long after a request its results are there
(aggregator_delay.py).

Records of 30 features from a real broker, all statistics and tests, reports to Kafka and SQLite. The first micro-batch
of each query is left out: it starts the Python workers. Ratios are the medians of those of several rounds. Reports are
compared with the kernel's on the same records. What a window costs by itself, `ms_per_window`, is how much longer 100
monitors take than one for the same records.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import sqlalchemy as sa
from rich.console import Console

from aggregator.session import spark_session
from aggregator.sinks.tables import REPORTS
from benchmarks import figures
from benchmarks.aggregator_backlog import (
    PER_BATCH,
    PER_SECOND,
    ROUNDS,
    Batch,
    Field,
    finished,
    fitted_profile,
    judged,
    messages,
    monitor_of,
    monitors_of,
    rate,
    send,
)
from benchmarks.aggregator_delay import delays
from benchmarks.aggregator_workers import workers_ratio
from localsystem.errors import MachineProblem
from localsystem.jars import CONNECTOR_JARS, cache_directory, ensure_jars
from localsystem.java import find_java
from localsystem.system import LocalSystem
from tidegauge.monitor import ModelMonitor
from tidegauge.records import InferenceRecord, decode
from tidegauge.summaries.window_summary import summarise
from tidegauge.verdict import judge
from tidegauge.windows import Window


def main() -> int:
    found = _throughput()
    try:
        found |= delays()
    except MachineProblem as problem:
        Console(stderr=True).print(f"bench-aggregator: without delays: {problem}")
    figures.show("Ratios, rates, and seconds from a request to its result", found, unit="")
    figures.write("aggregator", {"figures": found})
    return 0


def _throughput() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory, LocalSystem(Path(directory)) as system:
        system.prepare()
        broker = system.start_broker()
        jars = ensure_jars([CONNECTOR_JARS], java=find_java(), processes=system.processes, cache=cache_directory())
        profile = fitted_profile()
        broker.wait_until_ready()
        one, many = monitor_of("single", 0, broker.bootstrap_servers), monitors_of(broker.bootstrap_servers)
        for monitor in (one, many[0]):
            system.create_topics(broker, monitor.kafka.topics)
        send(broker.bootstrap_servers, profile, [one])
        send(broker.bootstrap_servers, profile, many)
        with spark_session(master="local[2]", jars=sorted(jars[0].glob("*.jar"))) as spark:
            field = Field(spark, broker.bootstrap_servers, Path(directory), profile)
            found = _measured(field, one, many)
        return found | workers_ratio(system, broker.bootstrap_servers)


def _measured(field: Field, one: ModelMonitor, many: list[ModelMonitor]) -> dict[str, float]:
    rounds = [_round(field, one, many, number) for number in range(ROUNDS)]
    for number, (counted, single, several) in enumerate(rounds, start=1):
        rates = {"read and count only": counted, "aggregator": single, "aggregator, 100 monitors": several}
        figures.show(f"Records of 30 features on local[2], round {number}", rates, unit="records/s")
    windows_s = [(1 / several - 1 / single) * _records_per_window(many) for _, single, several in rounds]
    return {
        "ratio_vs_count": median(single / counted for counted, single, _ in rounds),
        "monitors_100_vs_1": median(single / several for _, single, several in rounds),
        "ms_per_window": 1000 * median(windows_s),
        "records_per_s": median(single for _, single, _ in rounds),
        "count_records_per_s": median(counted for counted, *_ in rounds),
        "windows_equal_to_the_kernel": _equal_windows(field, one),
    }


def _round(field: Field, one: ModelMonitor, many: list[ModelMonitor], number: int) -> tuple[float, float, float]:
    """Records a second: counted only, judged for one monitor, and for many."""
    return (
        rate(_count(field, one, f"count-{number}")),
        rate(judged(field, [one], f"single-{number}")),
        rate(judged(field, many, f"many-{number}")),
    )


def _records_per_window(monitors: list[ModelMonitor]) -> float:
    return PER_SECOND * monitors[0].windows.duration_ms / 1000 / len(monitors)


def _count(field: Field, monitor: ModelMonitor, name: str) -> list[Batch]:
    """As anybody would write it: Spark's own source, with its defaults."""
    query = (
        field.spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", field.servers)
        .option("subscribe", monitor.kafka.topics.inference.name)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", PER_BATCH)
        .load()
        .groupBy()
        .count()
        .writeStream.format("noop")
        .outputMode("complete")
        .option("checkpointLocation", str(field.directory / name))
        .trigger(processingTime="0 seconds")
        .start()
    )
    return finished(query, monitors=1)


def _equal_windows(field: Field, monitor: ModelMonitor) -> int:
    """How many windows say the same as the kernel; exits where one does not."""
    engine = sa.create_engine(f"sqlite:///{field.directory}/{monitor.name}.db")
    with engine.connect() as connection:
        documents = [orjson.loads(text) for text in connection.execute(sa.select(REPORTS.c.document)).scalars()]
    engine.dispose()
    records: dict[int, list[InferenceRecord]] = {}
    for message in messages(field.profile, [monitor]):
        decoded = decode(message)
        if isinstance(decoded, InferenceRecord):
            records.setdefault(decoded.time_ms - decoded.time_ms % 15_000, []).append(decoded)
    for document in documents:
        start_ms = document["window"]["start_ms"]
        summary = summarise(records.get(start_ms, []), [], field.profile, monitor.statistics)
        window = Window(start_ms, start_ms + 15_000)
        alone = judge(monitor=monitor, profile=field.profile, version="1", window=window, summary=summary).to_document()
        if _compared(document) != _compared(alone) or document["completeness"]["share"] != 1.0:
            sys.exit(f"the window at {start_ms} differs from the kernel's")
    return len(documents)


def _compared(document: Mapping[str, Any]) -> tuple[Any, ...]:
    effects = [feature["tests"]["jensen_shannon"].get("effect") for feature in document["features"]]
    means = [round(feature["statistics"]["mean"], 9) for feature in document["features"]]
    return document["requests"], document["outliers"], effects, means


if __name__ == "__main__":
    sys.exit(main())
