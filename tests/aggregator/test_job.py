"""The whole query on a real Spark session, with files for a topic: one file is one micro-batch."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from aggregator.courier import Courier, Sink, SinkFailed
from aggregator.evaluate import ALERT, DEAD_LETTER, DRIFT, LATE, PROVISIONAL, REPORT, Output
from aggregator.job import folded_of, start
from aggregator.outbox import Outbox
from aggregator.sinks.sql import SqlSink, SqlStore
from tests.aggregator.doors import START_MS, Message, arrow, catalogue, encode, heartbeat, record, traffic
from tests.support.waiting import wait_until
from tidegauge.records import InferenceRecord

COLUMNS = "topic string, partition int, offset bigint, value binary"

OUTPUTS = (REPORT, DRIFT, ALERT, DEAD_LETTER, LATE, PROVISIONAL)

TRAFFIC = traffic(12)
END = heartbeat(20_000)


class Topic:
    """A directory of parquet files, which Spark reads in the order in which they were appended."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir()
        self.files = 0
        self._offset = 0

    def append(self, messages: Sequence[Message | bytes]) -> None:
        values = [message if isinstance(message, bytes) else encode(message) for message in messages]
        batch = arrow(values, first_offset=self._offset)
        self._offset += len(values)
        self.files += 1
        unseen = self.directory / f".{self.files}.parquet"
        pyarrow.parquet.write_table(pa.Table.from_batches([batch]), unseen)
        os.utime(unseen, (self.files, self.files))
        unseen.rename(self.directory / f"{self.files:04}.parquet")


class Published:
    """Takes the place of Kafka: keeps what was sent, and can refuse as a broker that is down does."""

    name = "published"

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.down = False

    def write(self, outputs: Sequence[Output]) -> None:
        if self.down:
            raise SinkFailed("the broker is down")
        self.sent += [(o.topic, o.key, orjson.loads(o.value)) for o in outputs if o.topic is not None]

    def idle(self) -> None: ...

    def close(self) -> None: ...

    def documents(self, topic: str) -> list[dict[str, Any]]:
        return [document for name, _, document in self.sent if name == topic]


class Job:
    def __init__(self, spark: SparkSession, directory: Path) -> None:
        self._spark = spark
        self._directory = directory
        self.topic = Topic(directory / "topic")
        self.published = Published()
        self.stopping = threading.Event()
        self.outbox = Outbox(directory / "outbox", OUTPUTS, maximum_bytes=1 << 30)
        self.sinks: list[Sink] = [
            self.published,
            SqlSink(SqlStore.open(f"sqlite:///{directory}/reports.db"), {}, lambda: START_MS),
        ]

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """
        Until everything appended is processed, or the condition holds; then a stop in good order. Raises
        StreamingQueryException when the query ends by itself.
        """
        couriers = [Courier(sink, self.outbox) for sink in self.sinks]
        self.outbox.follow([sink.name for sink in self.sinks])
        query = self._start()
        condition = until or (lambda: self._has_read_all(query))
        for courier in couriers:
            courier.start()
        try:
            wait_until(lambda: condition() or not query.isActive, within_s=120, what="the query to get there")
            if not query.isActive:
                query.awaitTermination()
            self.stopping.set()
            wait_until(lambda: not query.isActive, within_s=60, what="the query to stop")
        finally:
            query.stop()
            for courier in couriers:
                courier.finish(deadline=time.monotonic() + 20)
            self.stopping.clear()

    def _start(self) -> StreamingQuery:
        known = catalogue("doors", "gates")
        reader = self._spark.readStream.schema(COLUMNS).option("maxFilesPerTrigger", 1)
        return start(
            folded_of(reader.parquet(str(self.topic.directory)), known),
            known,
            [self.outbox],
            checkpoint=self._directory / "checkpoint",
            trigger={"processingTime": "0 seconds"},
            stopping=self.stopping,
        )

    def _has_read_all(self, query: StreamingQuery) -> bool:
        progress = query.lastProgress
        return progress is not None and f'"logOffset":{self.topic.files - 1}' in progress.sources[0].endOffset.replace(
            " ", ""
        )

    def rows(self, columns: str = "window_start_ms, requests, share", table: str = "reports") -> list[Any]:
        with sqlite3.connect(self._directory / "reports.db") as connection:
            rows = connection.execute(f"SELECT {columns} FROM {table} ORDER BY window_start_ms").fetchall()
        connection.close()
        return rows


WHOLE = [(START_MS, 100, 1.0), (START_MS + 5_000, 100, 1.0), (START_MS + 10_000, 40, 1.0)]


@pytest.fixture
def job(spark: SparkSession, tmp_path: Path) -> Job:
    return Job(spark, tmp_path)


def cut(messages: Sequence[Message], *, into: int) -> list[Sequence[Message]]:
    size = -(-len(messages) // into)
    return [messages[begin : begin + size] for begin in range(0, len(messages), size)]


def test_records_become_reports_in_the_store_and_on_the_topics(job: Job) -> None:
    for part in cut(TRAFFIC, into=3):
        job.topic.append(part)
    job.topic.append([END])
    job.run()
    assert job.rows() == WHOLE
    assert len(job.rows("feature, window_start_ms", "report_features")) == 3 * len(WHOLE)
    for topic, kind in (("tidegauge.statistics", "report"), ("tidegauge.drift", "drift")):
        documents = job.published.documents(topic)
        assert [(document["kind"], document["window"]["start_ms"]) for document in documents] == [
            (kind, start_ms) for start_ms, _, _ in WHOLE
        ]
    # Loaded by name in Spark's workers.
    (height, *_) = job.published.documents("tidegauge.statistics")[0]["features"]
    assert height["tests"]["tests.support.own:largest_gap"]["measured"]
    assert height["statistics"]["own"] == {"tests.support.own:WholeNumbers": {"measured": True, "value": 1.0}}


def test_one_monitors_clock_does_not_close_anothers_windows(job: Job) -> None:
    job.topic.append([record(1_000), record(1_000, monitor="gates"), heartbeat(60_000, monitor="gates")])
    job.topic.append([record(4_000)])
    job.run()
    assert [monitor for monitor, _ in job.rows("monitor, window_start_ms")] == ["gates"]


def test_what_cannot_be_used_goes_to_the_dead_letters_and_the_rest_goes_on(job: Job) -> None:
    job.topic.append([b"{", *TRAFFIC, b"[]"])
    job.topic.append([END])
    job.run()
    assert job.rows() == WHOLE
    letters = job.published.documents("tidegauge.dead-letter")
    assert [(letter["reason"], letter["offset"]) for letter in letters] == [
        ("not_json", 0),
        ("not_an_object", len(TRAFFIC) + 1),
    ]


def test_a_late_record_is_accounted_for_and_not_folded(job: Job) -> None:
    job.topic.append([*TRAFFIC, END])
    job.topic.append([record(1_000)])
    job.run()
    assert job.rows() == WHOLE
    (letter,) = job.published.documents("tidegauge.dead-letter")
    assert (letter["reason"], letter["records"], letter["window"]["start_ms"]) == ("late", 1, START_MS)


def test_late_records_correct_their_report_after_a_restart_too(job: Job) -> None:
    spooled = [message for message in TRAFFIC if isinstance(message, InferenceRecord) and message.seq % 2]
    job.topic.append([*(message for message in TRAFFIC if message not in spooled), heartbeat(13_000)])
    job.run()
    job.topic.append(spooled[:40])
    job.run()
    job.topic.append([*spooled[40:], heartbeat(14_000)])
    job.run(until=lambda: (START_MS + 5_000, 1, 100, 1.0) in job.rows("window_start_ms, revision, requests, share"))
    rows = job.rows("window_start_ms, revision, requests, share")
    assert {(start, requests, share) for start, revision, requests, share in rows if not revision} == {
        (START_MS, 50, 0.5),
        (START_MS + 5_000, 50, 0.5),
    }
    assert {(start, requests, share) for start, _, requests, share in rows if requests == 100} == set(WHOLE[:2])
    keys = [key for topic, key, _ in job.published.sent if topic == "tidegauge.statistics"]
    assert len(keys) == len(set(keys)) == len(rows)


def test_after_a_restart_open_windows_go_on_where_they_were(job: Job) -> None:
    for part in cut([*TRAFFIC, END], into=5):
        job.topic.append(part)
        job.run()
    assert job.rows() == WHOLE
    assert len(job.published.documents("tidegauge.statistics")) == len(WHOLE)


def test_a_sink_that_is_down_holds_up_neither_the_stream_nor_the_others_and_loses_nothing(job: Job) -> None:
    for part in cut(TRAFFIC, into=3):
        job.topic.append(part)
    job.topic.append([END])
    job.published.down = True
    job.run()
    assert job.rows() == WHOLE
    assert job.published.sent == []
    job.published.down = False
    job.run(until=lambda: len(job.published.documents("tidegauge.statistics")) == len(WHOLE))
    keys = [key for topic, key, _ in job.published.sent if topic == "tidegauge.statistics"]
    assert len(keys) == len(set(keys)) == len(WHOLE)
    assert job.outbox.waiting("published") == 0


def test_a_full_disk_stops_the_stream_for_as_long_as_it_is_full_and_nothing_is_lost(
    job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job.topic.append([*TRAFFIC, END])
    append, refused = Outbox.append, [1, 2]

    def full_at_first(outbox: Outbox, outputs: Iterable[Output]) -> None:
        if refused:
            refused.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        append(outbox, outputs)

    monkeypatch.setattr("aggregator.job.ROOM_S", 0.05)
    monkeypatch.setattr(Outbox, "append", full_at_first)
    job.run()
    assert job.rows() == WHOLE
    assert "outbox_unwritable No space left on device" in caplog.text


def test_a_full_outbox_stops_the_stream_until_the_sinks_have_caught_up(
    job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aggregator.job.ROOM_S", 0.05)
    job.outbox = Outbox(job.outbox.directory, OUTPUTS, maximum_bytes=1)
    for part in cut(TRAFFIC, into=3):
        job.topic.append(part)
    job.topic.append([END])
    job.published.down = True
    job.run(until=lambda: "outbox_full" in caplog.text)
    assert len(job.rows()) < len(WHOLE)
    job.published.down = False
    job.run()
    assert job.rows() == WHOLE
    assert len(job.published.documents("tidegauge.statistics")) == len(WHOLE)


def test_silence_closes_the_last_window(job: Job) -> None:
    job.topic.append(TRAFFIC[:-1])
    job.run(until=lambda: job.rows()[-1:] == [(START_MS + 10_000, 40, None)])


def test_once_a_stop_is_asked_for_no_micro_batch_is_delivered(job: Job) -> None:
    job.topic.append([*TRAFFIC, END])
    job.stopping.set()
    with pytest.raises(StreamingQueryException, match="asked to stop"):
        job.run()
    assert job.rows() == []
    job.stopping.clear()
    job.run()
    assert job.rows() == WHOLE
