"""The query: source -> fold -> keyed windows -> sinks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from aggregator.catalogue import Catalogue
from aggregator.evaluate import DEAD_LETTER, LATE, OUTPUT_COLUMNS, REPORT, TALLY
from aggregator.fold import FOLDED_COLUMNS, fold
from aggregator.source import SOURCE_COLUMNS
from aggregator.state import WindowProcessor

log = logging.getLogger("aggregator")


class ReportStore(Protocol):
    """Keeps encoded WindowReports; writing one again replaces it. Raises when it cannot."""

    def write(self, reports: list[bytes]) -> None: ...


@dataclass(frozen=True)
class Sinks:
    """publish: takes a DataFrame of evaluate.Output columns that have a topic, and sends them."""

    publish: Callable[[DataFrame], None]
    store: ReportStore


def reports_of(source: DataFrame, catalogue: Catalogue) -> DataFrame:
    """source: streaming, with SOURCE_COLUMNS. Gives evaluate.Output columns."""
    folded = source.select(*SOURCE_COLUMNS).mapInArrow(partial(_fold, catalogue), FOLDED_COLUMNS)
    return folded.groupBy("monitor").transformWithStateInPandas(
        WindowProcessor(catalogue),
        outputStructType=OUTPUT_COLUMNS,
        outputMode="Append",
        timeMode="ProcessingTime",
    )


def start(
    source: DataFrame, catalogue: Catalogue, sinks: Sinks, *, checkpoint: Path, trigger: dict[str, Any]
) -> StreamingQuery:
    """trigger: as DataStreamWriter.trigger takes it."""
    return (
        reports_of(source, catalogue)
        .writeStream.queryName("tidegauge")
        .outputMode("append")
        .option("checkpointLocation", str(checkpoint))
        .foreachBatch(partial(_deliver, sinks))
        .trigger(**trigger)
        .start()
    )


def _fold(catalogue: Catalogue, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return fold(batches, catalogue, _clock_ms)


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _deliver(sinks: Sinks, outputs: DataFrame, batch_id: int) -> None:
    """
    A failing sink raises and stops the query; after a restart the micro-batch is delivered again, to every sink.
    """
    outputs.persist()  # computed once: the state behind it must not be stepped once per sink
    try:
        # Dead letters may be many and go by Spark alone; each micro-batch that has some has a tally of them, too.
        rows = outputs.where(outputs.kind.isin(REPORT, LATE, TALLY)).select("kind", "value").collect()
        if not rows:
            return
        sinks.publish(outputs.where(outputs.topic.isNotNull()))
        sinks.store.write([bytes(row.value) for row in rows if row.kind == REPORT])
        for row in rows:
            _log(row.kind, orjson.loads(bytes(row.value)), batch_id)
    finally:
        outputs.unpersist()


def _log(kind: str, document: dict[str, Any], batch_id: int) -> None:
    match kind:
        case "report":
            log.info(
                "window_closed monitor=%s version=%s start_ms=%d requests=%d completeness=%s drifted=%s worst=%s",
                document["monitor"],
                document["version"],
                document["window"]["start_ms"],
                document["requests"],
                document["completeness"]["share"],
                document["drifted"],
                document["worst_feature"],
            )
        case "late":
            log.warning(
                "%s monitor=%s start_ms=%d records=%d batch=%d",
                "late_records" if document["kind"] == LATE else document["reason"],
                document["monitor"],
                document["window"]["start_ms"],
                document["records"],
                batch_id,
            )
        case _:
            log.warning("%ss reason=%s count=%d batch=%d", DEAD_LETTER, document["reason"], document["count"], batch_id)
