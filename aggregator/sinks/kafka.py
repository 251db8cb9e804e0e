"""Outputs to their Kafka topics, through Spark's writer."""

from __future__ import annotations

from typing import Final

from pyspark.sql import DataFrame

LARGEST_BYTES: Final = 8 << 20
"""Before compression. Reports on 300 features take about 1 MB, Kafka's default, and a fourth of it once compressed."""


def write(outputs: DataFrame, *, bootstrap_servers: str) -> None:
    """
    Takes evaluate.Output columns, none with a null topic. A repeated micro-batch repeats its messages: a reader tells
    them by their key. Raises when a message is not acknowledged by all in-sync replicas.
    """
    (
        outputs.select("topic", "key", "value")
        .write.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("kafka.acks", "all")
        .option("kafka.compression.type", "lz4")
        .option("kafka.max.request.size", LARGEST_BYTES)
        .save()
    )
