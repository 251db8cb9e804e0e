"""What a real query says of its micro-batches."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from aggregator.watching import MicroBatch, QueryWatch, behind_of
from tests.aggregator.test_job import END, TRAFFIC, Job
from tests.support.waiting import wait_until


def test_each_micro_batch_is_told_of_once_with_its_state(spark: SparkSession, tmp_path: Path) -> None:
    job = Job(spark, tmp_path)
    job.topic.append([*TRAFFIC, END])
    heard: list[MicroBatch] = []
    watch = QueryWatch(heard.append)
    query = job._start()

    def has_read() -> bool:
        watch.look(query)
        watch.look(query)
        return any(batch.state_rows for batch in heard)

    began_s = time.time()
    try:
        wait_until(has_read, within_s=60, what="a micro-batch with state")
    finally:
        job.stopping.set()
        query.stop()
    assert heard[-1].state_memory_bytes > 0
    assert began_s < heard[-1].ended_s <= time.time()
    assert heard[-1].behind == {}


@pytest.mark.parametrize(
    ("read", "there", "expected"),
    [
        ('{"a":{"0":3,"1":5},"b":{"0":1}}', '{"a":{"0":5,"1":6},"b":{"0":1}}', {"a": 3, "b": 0}),
        ('{"a":{"0":9}}', '{"a":{"0":5,"1":6}}', {"a": 0}),
        ('{"logOffset":3}', None, {}),
        (None, '{"logOffset":3}', {}),
        ("no offset", "[]", {}),
    ],
)
def test_what_waits_is_counted_by_topic(read: str | None, there: str | None, expected: dict[str, int]) -> None:
    assert behind_of(read, there) == expected
