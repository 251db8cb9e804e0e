"""python -m aggregator: reads the settings, starts the query, stops it in good order on SIGTERM or SIGINT."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import Final

from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from aggregator.checkpoint import Checkpoint
from aggregator.deliveries import Deliveries
from aggregator.errors import StartError, told
from aggregator.job import start
from aggregator.reload import MonitorFiles
from aggregator.session import spark_session
from aggregator.settings import Settings, parse_settings
from aggregator.sinks.prometheus import Metrics, serve
from aggregator.sinks.sql import SqlStore
from aggregator.source import Inference, folded_stream
from aggregator.watching import QueryWatch

POLL_S: Final = 0.1

LOOK_S: Final = 0.5
"""From one look at the query's progress to the next: less than a micro-batch takes."""

LAST_BATCH_S: Final = 15.0
"""How long a stop waits for the micro-batch under way; one that is cut off is repeated after the next start."""

log = logging.getLogger("aggregator")


def main() -> int:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    stopping = threading.Event()
    try:
        settings = parse_settings(sys.argv[1:])
        log.setLevel(settings.log_level.upper())
        Checkpoint.open(settings.checkpoint)  # refused before Spark is started
        store = SqlStore.open(settings.store)
        _listen_for_signals(stopping)
        log.info("spark_starting monitors=%s", ",".join(settings.catalogue.monitors))
        with spark_session(master=settings.master) as spark:
            _listen_for_signals(stopping)  # again: Spark has put its own in their place
            return 0 if stopping.is_set() else _run(spark, settings, store, stopping)
    except StartError as error:
        print(f"aggregator: {error}", file=sys.stderr)
        return 2


def _listen_for_signals(stopping: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())


@dataclass(frozen=True)
class Parts:
    """What stays while the query is ended and started again."""

    spark: SparkSession
    store: SqlStore
    metrics: Metrics
    files: MonitorFiles
    stopping: threading.Event


def _run(spark: SparkSession, settings: Settings, store: SqlStore, stopping: threading.Event) -> int:
    checkpoint = Checkpoint.open(settings.checkpoint)
    metrics = Metrics(settings.checkpoint / "open-alerts.json")
    parts = Parts(spark, store, metrics, MonitorFiles(sys.argv[1:], settings), stopping)
    following: Settings | None = settings
    with contextlib.ExitStack() as stack:
        stack.callback(store.close)
        if settings.metrics_port is not None:
            stack.callback(serve(metrics, settings.metrics_port))
        try:
            while following is not None and not stopping.is_set():
                checkpoint, catalogue = checkpoint.begin(following.catalogue)
                following = _run_query(parts, replace(following, catalogue=catalogue), checkpoint)
            log.info("stopped")
        except StreamingQueryException as error:
            log.error("query_failed %s", told(error))
            return 1
    return 0


def _run_query(parts: Parts, settings: Settings, checkpoint: Checkpoint) -> Settings | None:
    """Until a stop is asked for: None, or the monitors have changed: the settings to go on with."""
    topics = settings.catalogue.inference_topics()
    parts.spark.sparkContext.setLogLevel("WARN")
    log.info("query_starting monitors=%s topics=%s", ",".join(settings.catalogue.monitors), ",".join(topics))
    ending = threading.Event()
    inference = Inference(
        settings.brokers,
        topics,
        settings.maximum_records,
        settings.catalogue,
        earlier=sorted(checkpoint.topics.difference(topics)),
    )
    with Deliveries(settings, parts.store) as deliveries:
        parts.metrics.follow(deliveries.couriers, deliveries.outboxes, settings.catalogue.monitors)
        query = start(
            folded_stream(parts.spark, inference),
            settings.catalogue,
            deliveries.outboxes,
            checkpoint=settings.checkpoint,
            trigger={"processingTime": f"{settings.interval_ms} milliseconds"},
            stopping=ending,
            watcher=parts.metrics.output,
        )
        following = _watch(query, parts)
        ending.set()
        _stop(query, parts.spark)
    return following


def _watch(query: StreamingQuery, parts: Parts) -> Settings | None:
    """Returns when a stop was asked for or the monitors have changed. Raises what ended the query."""
    announced, looked_s, progress = False, 0.0, QueryWatch(parts.metrics.progressed)
    while not parts.stopping.wait(POLL_S):
        if not query.isActive:
            query.awaitTermination()  # raises the reason
        if not announced and _is_under_way(query):
            print("aggregator ready", flush=True)
            announced = True
        if time.monotonic() - looked_s >= LOOK_S:
            progress.look(query)
            looked_s = time.monotonic()
        if (following := parts.files.changed()) is not None:
            log.info("monitors_changed")
            return following
    return None


def _is_under_way(query: StreamingQuery) -> bool:
    return query.lastProgress is not None or query.status["message"] == "Waiting for data to arrive"


def _stop(query: StreamingQuery, spark: SparkSession) -> None:
    """The micro-batch under way is finished; the one after it refuses to begin, which is no error worth a word."""
    spark.sparkContext.setLogLevel("OFF")
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    deadline = time.monotonic() + LAST_BATCH_S
    while query.isActive and query.status["isTriggerActive"] and time.monotonic() < deadline:
        time.sleep(POLL_S / 5)
    query.stop()


if __name__ == "__main__":
    sys.exit(main())
