"""The same records as a stream, as a batch in a Spark job, and as history: the same reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from aggregator.evaluate import REPORT
from aggregator.frames import monitor
from aggregator.replay import FoldedHistory, outputs_of_history
from tests.aggregator.doors import (
    NOW_MS,
    START_MS,
    Message,
    arrow,
    arrow_of,
    catalogue,
    encode,
    heartbeat,
    profile,
    traffic,
)
from tests.support.waiting import wait_until

SECONDS = 60
TRAFFIC: list[Message] = [*traffic(SECONDS), heartbeat((SECONDS + 20) * 1000)]
WINDOWS = [START_MS + at for at in range(0, SECONDS * 1000, 5_000)]


@pytest.fixture
def folded(tmp_path: Path) -> Iterator[FoldedHistory]:
    history = FoldedHistory(tmp_path, catalogue(), NOW_MS)
    yield history
    history.close()


def reports(history: FoldedHistory) -> list[dict[str, Any]]:
    outputs = outputs_of_history(history.parts(), catalogue())
    return [orjson.loads(output.value) for output in outputs if output.kind == REPORT]


def same(one: Any, other: Any, path: str = "") -> None:
    """Counts, names and verdicts exactly, moments to 1e-9."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for name in one:
            same(one[name], other[name], f"{path}.{name}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for position, (left, right) in enumerate(zip(one, other, strict=True)):
            same(left, right, f"{path}[{position}]")
    elif isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12), path
    else:
        assert one == other, path


def of_traffic(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    chosen = [document for document in documents if document["window"]["start_ms"] in WINDOWS]
    return sorted(({**document, "features": document["features"]} for document in chosen), key=_start)


def _start(document: dict[str, Any]) -> int:
    start_ms: int = document["window"]["start_ms"]
    return start_ms


def without_percentiles(document: Any) -> Any:
    """Quantile sketches are randomised: merged in another order they give other values within their error."""
    if isinstance(document, dict):
        return {name: without_percentiles(value) for name, value in document.items() if name != "percentiles"}
    return [without_percentiles(value) for value in document] if isinstance(document, list) else document


def test_history_in_any_order_and_any_pieces_says_the_same(folded: FoldedHistory, tmp_path: Path) -> None:
    folded.add(arrow_of(TRAFFIC))
    whole = reports(folded)
    assert [document["window"]["start_ms"] for document in of_traffic(whole)] == WINDOWS
    assert {document["completeness"]["share"] for document in of_traffic(whole)} == {1.0}
    assert whole[-2]["verdict"] != "learning"
    (tmp_path / "other").mkdir()
    shuffled = FoldedHistory(tmp_path / "other", catalogue(), NOW_MS)
    backwards = TRAFFIC[::-1]
    for begin in range(0, len(backwards), 100):
        shuffled.add(arrow_of(backwards[begin : begin + 100], partition=begin % 3))
    again = reports(shuffled)
    shuffled.close()
    same(without_percentiles(whole), without_percentiles(again))


def test_what_is_of_no_use_is_counted(folded: FoldedHistory) -> None:
    folded.add(arrow([b"{", *map(encode, traffic(6)), b"[]", None]))
    assert [document["requests"] for document in reports(folded)] == [100, 20]
    assert folded.refused == {"not_json": 2, "not_an_object": 1}


def test_nothing_gives_nothing(folded: FoldedHistory) -> None:
    assert reports(folded) == []


def test_a_frame_gives_the_reports_of_the_stream_and_of_history(
    spark: SparkSession, tmp_path: Path, folded: FoldedHistory
) -> None:
    folded.add(arrow_of(TRAFFIC))
    expected = of_traffic(reports(folded))
    (tmp_path / "records").mkdir()
    for number, begin in enumerate(range(0, len(TRAFFIC), 300)):
        table = pa.Table.from_batches([arrow_of(TRAFFIC[begin : begin + 300]).select(["value"])])
        pq.write_table(table, tmp_path / "records" / f"{number}.parquet")
    doors = catalogue().monitors["doors"]
    frame = spark.read.parquet(str(tmp_path / "records"))
    batch = [orjson.loads(row.report) for row in monitor(frame, doors, profile()).collect()]
    same(without_percentiles(expected), without_percentiles(of_traffic(batch)))
    stream = spark.readStream.schema("value binary").parquet(str(tmp_path / "records"))
    query = (
        monitor(stream, doors, profile())
        .writeStream.format("memory")
        .queryName("told")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .start()
    )
    try:
        found: list[Any] = []

        def all_told() -> bool:
            found[:] = spark.sql("SELECT report FROM told").collect()
            return len(found) >= len(WINDOWS) or not query.isActive

        wait_until(all_told, within_s=120, what="all windows")
    finally:
        query.stop()
    told = of_traffic([orjson.loads(row.report) for row in found])
    same(without_percentiles(expected), without_percentiles(told))


def test_a_frame_without_messages_is_told_so(spark: SparkSession) -> None:
    with pytest.raises(ValueError, match="a column `value` with the messages, got id"):
        monitor(spark.range(1), catalogue().monitors["doors"], profile())
    with pytest.raises(ValueError, match="needs its profile"):
        monitor(spark.range(1), catalogue().monitors["doors"])
