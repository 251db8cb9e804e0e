"""A backlog of records of 30 features in a real broker, and the aggregator's query that works it off."""

from __future__ import annotations

import sys
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from confluent_kafka import Producer
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from aggregator.brokers import Brokers
from aggregator.catalogue import Catalogue
from aggregator.deliveries import Deliveries
from aggregator.job import start
from aggregator.settings import Settings
from aggregator.sinks.sql import SqlStore
from aggregator.source import Inference, folded_stream
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.kafka_spec import Topic, Topics
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.records import Account, Heartbeat, InferenceRecord, encode_heartbeat, encode_record

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
ROUNDS: Final = 3
"""The queries in turn so often. Each is compared with those of its round: a shared machine is not always as quick."""


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


def fitted_profile() -> BaselineProfile:
    rows = np.random.default_rng(SEED).normal(size=(5_000, FEATURES))
    return BaselineProfile.fit(rows, FeatureSchema(tuple(FeatureSpec(f"f{at}") for at in range(FEATURES))))


def monitor_of(name: str, number: int, servers: str) -> ModelMonitor:
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


def monitors_of(servers: str) -> list[ModelMonitor]:
    return [monitor_of("many", number, servers) for number in range(MONITORS)]


def messages(profile: BaselineProfile, monitors: list[ModelMonitor]) -> Iterator[bytes]:
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


def send(servers: str, profile: BaselineProfile, monitors: list[ModelMonitor]) -> None:
    """Transformers key records by their requests' ids: those of a monitor are spread over all partitions."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 50, "queue.buffering.max.messages": 2_000_000})
    for at, message in enumerate(messages(profile, monitors)):
        partition = zlib.crc32(message) % PARTITIONS
        producer.produce(monitors[0].kafka.topics.inference.name, message, partition=partition)
        if at % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(300) == 0, "the broker did not take everything"


def judged(field: Field, monitors: list[ModelMonitor], name: str) -> list[Batch]:
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
        batches = finished(query, monitors=len(monitors))
        _wait_until_delivered(deliveries)
    store.close()
    return batches


def _wait_until_delivered(deliveries: Deliveries) -> None:
    deadline = time.monotonic() + DELIVERED_WITHIN_S
    while any(outbox.size_bytes for outbox in deliveries.outboxes):
        if time.monotonic() > deadline:
            sys.exit("the sinks have not taken all reports")
        time.sleep(0.1)


def finished(query: StreamingQuery, *, monitors: int) -> list[Batch]:
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


def rate(batches: list[Batch]) -> float:
    """Records a second of wall time, without the first micro-batch."""
    steady = [batch for batch in batches if batch.rows][1:]
    return sum(batch.rows for batch in steady) / sum(batch.took_ms for batch in steady) * 1000
