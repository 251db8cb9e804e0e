"""The inference topics as a streaming DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import DataFrame, SparkSession

SOURCE_COLUMNS: Final = ("topic", "partition", "offset", "value")
"""What the fold reads of a source: names a message, and its bytes."""


def kafka_source(
    spark: SparkSession, *, bootstrap_servers: str, topics: Sequence[str], maximum_records: int
) -> DataFrame:
    """
    From the earliest offset where there is no checkpoint. maximum_records: of one micro-batch, dealt out over the
    partitions in proportion to what waits in each; event time follows the slowest. Offsets that Kafka has deleted
    before they were read stop the query, since going on would lose them in silence.
    """
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("subscribe", ",".join(topics))
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", maximum_records)
        .load()
    )
