"""
The inference topics as a streaming DataFrame of summaries: each task reads stretches of some partitions and folds them.

Spark plans and remembers offsets as it does with any source; messages themselves never enter the JVM.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadLimit, ReadMaxRows
from pyspark.sql.types import StructType

from aggregator.brokers import Brokers
from aggregator.catalogue import Catalogue
from aggregator.clock import clock_ms
from aggregator.cycles import spare_what_stays
from aggregator.errors import SourceFailed
from aggregator.fold import FOLDED_COLUMNS, fold
from aggregator.offsets import Offsets, bounded, dealt, gone_back, missing, stretches, together
from aggregator.partition_reader import read_stretch
from aggregator.topic_ends import TopicEnds

FORMAT: Final = "tidegauge-kafka"

SETTLED_MS: Final = 150
"""So long after a whole second what the transformers said up to it, heartbeats included, is in Kafka."""


@dataclass(frozen=True)
class Inference:
    """
    What is read. topics: those of the catalogue's monitors. earlier: ones of monitors that are gone, read as long as
    they are there. maximum_records: of one micro-batch.
    """

    brokers: Brokers
    topics: Sequence[str]
    maximum_records: int
    catalogue: Catalogue
    earlier: Sequence[str] = ()

    def options(self) -> Mapping[str, str]:
        return {**self.brokers.client_options, "bootstrap.servers": self.brokers.bootstrap_servers}


def folded_stream(spark: SparkSession, inference: Inference) -> DataFrame:
    """
    fold.FOLDED_COLUMNS, from the earliest offset where there is no checkpoint. Messages that Kafka has deleted before
    they were read stop the query, since going on would lose them in silence.
    """

    tasks = _tasks_side_by_side(spark)

    class FoldedKafka(DataSource):  # type: ignore[misc]
        """Of this very query: Spark takes classes, and its options are for texts that may be logged."""

        @classmethod
        def name(cls) -> str:
            return FORMAT

        def schema(self) -> str:
            return FOLDED_COLUMNS

        def streamReader(self, schema: StructType) -> DataSourceStreamReader:
            return FoldReader(inference, tasks)

    spark.dataSource.register(FoldedKafka)
    return spark.readStream.format(FORMAT).load()


def _tasks_side_by_side(spark: SparkSession) -> int | None:
    """
    How many run at once; None where Spark does not know it yet, as a cluster's executors may still be on their way.
    """
    context = spark.sparkContext
    return context.defaultParallelism if context.master.startswith("local[") else None


class FoldReader(DataSourceStreamReader):  # type: ignore[misc]
    """All but `read` is called in one process beside the driver; `read` in the executors' workers."""

    def __init__(self, inference: Inference, tasks: int | None = None) -> None:
        """
        tasks: as many read each micro-batch, or fewer; None: one for each partition. What one task reads of a window
        becomes one summary, whichever partitions it is from, and a summary costs as much as many records.
        """
        self._inference, self._tasks = inference, tasks
        self._asked: TopicEnds | None = None
        self._latest: Offsets = {}

    def initialOffset(self) -> Offsets:
        return self._ends().earliest()

    def getDefaultReadLimit(self) -> ReadLimit:
        return ReadMaxRows(self._inference.maximum_records)

    def latestOffset(self, start: Offsets, limit: ReadLimit) -> Offsets:
        if start == self._latest:
            _wait_until_settled()
        latest = self._ends().latest()
        if gone := gone_back(start, latest):
            raise SourceFailed(
                f"{', '.join(gone)}: shorter than what was read of it: its topic was made anew; to go on, start with an"
                " empty --checkpoint"
            )
        self._latest = together(start, latest)
        if isinstance(limit, ReadAllAvailable):
            return self._latest
        return bounded(self._begun(start, self._latest), self._latest, self._inference.maximum_records)

    def reportLatestOffset(self) -> Offsets | None:
        return self._latest or None

    def partitions(self, start: Offsets, end: Offsets) -> Sequence[InputPartition]:
        found = stretches(self._begun(start, end), end)
        hands = [[stretch] for stretch in found] if self._tasks is None else dealt(found, self._tasks)
        return list(map(InputPartition, hands))

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """partition: of some stretches."""
        options, some = self._inference.options(), partition.value
        messages = chain.from_iterable(read_stretch(options, stretch) for stretch in some)
        yield from fold(messages, self._inference.catalogue, clock_ms)
        spare_what_stays("read")

    def _begun(self, start: Offsets, end: Offsets) -> Offsets:
        """start, with the earliest offsets of partitions that are new."""
        new = missing(end, start)
        if not new:
            return start
        earliest = self._ends().earliest()
        return together(start, *({topic: {at: earliest[topic][at]}} for topic, at in new))

    def _ends(self) -> TopicEnds:
        if self._asked is None:
            self._asked = TopicEnds(self._inference.options(), self._inference.topics, self._inference.earlier)
        return self._asked


def _wait_until_settled() -> None:
    """
    Windows end on whole seconds: who asks right then for what there is misses their last messages by a moment, and
    tells of the windows a micro-batch later. With a backlog there is always enough to read.
    """
    missing_ms = SETTLED_MS - clock_ms() % 1000
    if missing_ms > 0:
        time.sleep(missing_ms / 1000)
