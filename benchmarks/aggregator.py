"""
What the aggregator gets through on two cores, beside a query that only reads and counts the same topic in the same run,
and how long after a request its results are there (aggregator_delay.py).

Records of 30 features from a real broker, all statistics and tests, reports to Kafka and SQLite. The first micro-batch
of each query is left out: it starts the Python workers. Reports are compared with the kernel's on the same records.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import sqlalchemy as sa
from confluent_kafka import Producer
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from rich.console import Console

from aggregator.brokers import Brokers
from aggregator.catalogue import Catalogue
from aggregator.deliveries import Deliveries
from aggregator.job import start
from aggregator.session import spark_session
from aggregator.settings import Settings
from aggregator.sinks.sql import SqlStore
from aggregator.sinks.tables import REPORTS
from aggregator.source import Inference, folded_stream
from benchmarks import figures
from benchmarks.aggregator_delay import delays
from localsystem.errors import MachineProblem
from localsystem.jars import CONNECTOR_JARS, cache_directory, ensure_jars
from localsystem.java import find_java
from localsystem.system import LocalSystem
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.kafka_spec import Topic, Topics
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.records import Account, Heartbeat, InferenceRecord, decode, encode_heartbeat, encode_record
from tidegauge.summaries.window_summary import summarise
from tidegauge.verdict import judge
from tidegauge.windows import Window

FEATURES: Final = 30
RECORDS: Final = 600_000
PER_BATCH: Final = 100_000
PER_SECOND: Final = 2_000
PARTITIONS: Final = 4
START_MS: Final = 1_699_999_995_000
SEED: Final = 5
MONITORS: Final = 100
LOOK_S: Final = 1
DELIVERED_WITHIN_S: Final = 60.0
REPEATS: Final = 2
"""Both queries in turn so often: the best of each counts, since the machine is shared."""


@dataclass(frozen=True)
class Field:
    """What all runs share."""

    spark: SparkSession
    servers: str
    directory: Path
    profile: BaselineProfile


@dataclass(frozen=True)
class Batch:
    rows: int
    took_ms: int


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
        profile = _profile()
        broker.wait_until_ready()
        one, many = _monitor("single", 0, broker.bootstrap_servers), _monitors(broker.bootstrap_servers)
        for monitor in (one, many[0]):
            system.create_topics(broker, monitor.kafka.topics)
        _send(broker.bootstrap_servers, profile, [one])
        _send(broker.bootstrap_servers, profile, many)
        with spark_session(master="local[2]", jars=sorted(jars[0].glob("*.jar"))) as spark:
            field = Field(spark, broker.bootstrap_servers, Path(directory), profile)
            return _measured(field, one, many)


def _measured(field: Field, one: ModelMonitor, many: list[ModelMonitor]) -> dict[str, float]:
    counted, single, several = [], [], []
    for repeat in range(REPEATS):
        counted.append(_rate(_count(field, one, f"count-{repeat}")))
        single.append(_rate(_judge(field, [one], f"single-{repeat}")))
        several.append(_rate(_judge(field, many, f"many-{repeat}")))
    rates = {"read and count only": max(counted), "aggregator": max(single), "aggregator, 100 monitors": max(several)}
    figures.show("Records of 30 features on local[2]", rates, unit="records/s")
    return {
        "ratio_vs_count": max(single) / max(counted),
        "monitors_100_vs_1": max(single) / max(several),
        "records_per_s": max(single),
        "count_records_per_s": max(counted),
        "windows_equal_to_the_kernel": _equal_windows(field, one),
    }


def _profile() -> BaselineProfile:
    rows = np.random.default_rng(SEED).normal(size=(5_000, FEATURES))
    return BaselineProfile.fit(rows, FeatureSchema(tuple(FeatureSpec(f"f{at}") for at in range(FEATURES))))


def _monitor(name: str, number: int, servers: str) -> ModelMonitor:
    topics = Topics(
        inference=Topic(f"{name}.inference", PARTITIONS),
        statistics=Topic(f"{name}.statistics"),
        drift=Topic(f"{name}.drift"),
        alerts=Topic(f"{name}.alerts"),
        outliers=Topic(f"{name}.outliers"),
        dead_letter=Topic(f"{name}.dead-letter"),
    )
    document = {
        "apiVersion": "tidegauge.io/v1alpha1",
        "kind": "ModelMonitor",
        "metadata": {"name": f"{name}-{number}"},
        "spec": {"model": {"name": "m"}, "baseline": {"file": "b.json"}, "kafka": {"bootstrapServers": servers}},
    }
    parsed = parse_monitor(document)
    return replace(parsed, kafka=replace(parsed.kafka, topics=topics))


def _monitors(servers: str) -> list[ModelMonitor]:
    return [_monitor("many", number, servers) for number in range(MONITORS)]


def _messages(profile: BaselineProfile, monitors: list[ModelMonitor]) -> Iterator[bytes]:
    """In the order of time: records of the monitors in turn, and each monitor's heartbeat a second."""
    rng = np.random.default_rng(SEED + 1)
    seqs = [0] * len(monitors)
    for number in range(RECORDS):
        time_ms = START_MS + number * 1000 // PER_SECOND
        if number % PER_SECOND == 0:
            yield from (_heartbeat(profile, m, time_ms, seq) for m, seq in zip(monitors, seqs, strict=True))
            rows = rng.normal(size=(PER_SECOND, FEATURES)).round(4).tolist()
            p_values = rng.random(PER_SECOND).tolist()
        at = number % len(monitors)
        seqs[at] += 1
        yield _record(
            profile, monitors[at], time_ms, seqs[at], rows[number % PER_SECOND], p_values[number % PER_SECOND]
        )
    last_ms = START_MS + RECORDS * 1000 // PER_SECOND
    yield from (_heartbeat(profile, m, last_ms, seq) for m, seq in zip(monitors, seqs, strict=True))


def _record(
    profile: BaselineProfile, monitor: ModelMonitor, time_ms: int, seq: int, row: list[float], p_value: float
) -> bytes:
    record = InferenceRecord(
        id=f"{seq:032x}",
        time_ms=time_ms,
        **_speaker(profile, monitor),
        seq=seq,
        protocol="v1",
        status=200,
        latency_ms=3.25,
        upstream_ms=2.5,
        rows=1,
        features=[row],
        predictions=[seq % 3],
        scores={"tail": [round(10 * p_value, 6)], "mahalanobis": [round(30 * p_value, 6)]},
        p_values={name: [p_value] for name in ("tail", "mahalanobis", "combined")},
        outlier=[p_value < 0.001],
        top=[[["f1", 1.25], ["f2", 0.5], ["f3", 0.125]]],
    )
    return encode_record(record)


def _heartbeat(profile: BaselineProfile, monitor: ModelMonitor, time_ms: int, seq: int) -> bytes:
    account = Account(served=seq, acknowledged=seq)
    return encode_heartbeat(Heartbeat(time_ms=time_ms, **_speaker(profile, monitor), seq=seq, account=account))


def _speaker(profile: BaselineProfile, monitor: ModelMonitor) -> dict[str, Any]:
    return {
        "monitor": monitor.name,
        "model": "m",
        "version": "1",
        "namespace": "default",
        "replica": "pod-a",
        "incarnation": "i-1",
        "baseline": profile.content_id,
    }


def _send(servers: str, profile: BaselineProfile, monitors: list[ModelMonitor]) -> None:
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 50, "queue.buffering.max.messages": 2_000_000})
    for at, message in enumerate(_messages(profile, monitors)):
        producer.produce(monitors[0].kafka.topics.inference.name, message, partition=at % PARTITIONS)
        if at % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(300) == 0, "the broker did not take everything"


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
    return _finished(query, monitors=1)


def _judge(field: Field, monitors: list[ModelMonitor], name: str) -> list[Batch]:
    content_id = field.profile.content_id
    catalogue = Catalogue(
        {monitor.name: monitor for monitor in monitors},
        {monitor.name: content_id for monitor in monitors},
        {content_id: field.profile.dump()},
    )
    url = f"sqlite:///{field.directory}/{monitors[0].name}.db"
    settings = Settings(catalogue, Brokers(field.servers), field.directory / name, url)
    inference = Inference(settings.brokers, catalogue.inference_topics(), PER_BATCH, catalogue)
    store = SqlStore.open(url)
    with Deliveries(settings, store) as deliveries:
        query = start(
            folded_stream(field.spark, inference),
            catalogue,
            deliveries.outboxes,
            checkpoint=settings.checkpoint,
            trigger={"processingTime": "0 seconds"},
            stopping=threading.Event(),
        )
        batches = _finished(query, monitors=len(monitors))
        _wait_until_delivered(deliveries)
    store.close()
    return batches


def _wait_until_delivered(deliveries: Deliveries) -> None:
    deadline = time.monotonic() + DELIVERED_WITHIN_S
    while any(outbox.size_bytes for outbox in deliveries.outboxes):
        if time.monotonic() > deadline:
            sys.exit("the sinks have not taken all reports")
        time.sleep(0.1)


def _finished(query: StreamingQuery, *, monitors: int) -> list[Batch]:
    """Stops the query when everything is read: open windows have timers, so it would not end by itself."""
    batches: dict[int, Batch] = {}
    messages = RECORDS + monitors * (RECORDS // PER_SECOND + 1)
    while sum(batch.rows for batch in batches.values()) < messages:
        query.awaitTermination(LOOK_S)  # raises what ended it
        for one in query.recentProgress:
            batches[one.batchId] = Batch(_read(one), one.durationMs["triggerExecution"])
    query.stop()
    return [batches[number] for number in sorted(batches)]


def _read(progress: Any) -> int:
    """Messages of a micro-batch, by its offsets: the rows that Spark counts are summaries already."""
    (source,) = progress.sources
    begun, ended = (orjson.loads(text or "{}") or {} for text in (source.startOffset, source.endOffset))
    offsets = [(topic, at, offset) for topic, ends in ended.items() for at, offset in ends.items()]
    return sum(offset - begun.get(topic, {}).get(at, 0) for topic, at, offset in offsets)


def _rate(batches: list[Batch]) -> float:
    """Records a second of wall time, without the first micro-batch."""
    steady = [batch for batch in batches if batch.rows][1:]
    return sum(batch.rows for batch in steady) / sum(batch.took_ms for batch in steady) * 1000


def _equal_windows(field: Field, monitor: ModelMonitor) -> int:
    """How many windows say the same as the kernel; exits where one does not."""
    engine = sa.create_engine(f"sqlite:///{field.directory}/{monitor.name}.db")
    with engine.connect() as connection:
        documents = [orjson.loads(text) for text in connection.execute(sa.select(REPORTS.c.document)).scalars()]
    engine.dispose()
    records: dict[int, list[InferenceRecord]] = {}
    for message in _messages(field.profile, [monitor]):
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
