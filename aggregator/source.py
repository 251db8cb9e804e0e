"""The inference topics as a streaming DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import DataFrame, SparkSession

from aggregator.brokers import Brokers

SOURCE_COLUMNS: Final = ("topic", "partition", "offset", "value")
"""What the fold reads of a source: names a message, and its bytes."""

FETCH_WAIT_MS: Final = 50
"""
How long a broker may wait for more at a partition's end. Spark asks it for the end's offset meanwhile, and is answered
after that: with Kafka's 500 ms, a micro-batch that reads to the end may wait so long for each partition.
"""


def kafka_source(spark: SparkSession, *, brokers: Brokers, topics: Sequence[str], maximum_records: int) -> DataFrame:
    """
    From the earliest offset where there is no checkpoint. maximum_records: of one micro-batch, dealt out over the
    partitions in proportion to what waits in each; event time follows the slowest. Offsets that Kafka has deleted
    before they were read stop the query, since going on would lose them in silence.
    """
    return (
        spark.readStream.format("kafka")
        .options(**brokers.spark_options)
        .option("kafka.bootstrap.servers", brokers.bootstrap_servers)
        .option("subscribe", ",".join(topics))
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("kafka.fetch.max.wait.ms", FETCH_WAIT_MS)
        .option("maxOffsetsPerTrigger", maximum_records)
        .load()
    )
