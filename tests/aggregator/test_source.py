"""Messages from a real broker: whole stretches of partitions, and a clear end where they cannot be had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from pyspark.sql import SparkSession
from pyspark.sql.datasource import InputPartition
from pyspark.sql.streaming.datasource import ReadAllAvailable

from aggregator import partition_reader, source, topic_ends
from aggregator.brokers import Brokers
from aggregator.errors import SourceFailed
from aggregator.fold import FOLDED, Messages
from aggregator.offsets import SLICE_MESSAGES, Offsets, Stretch
from aggregator.partition_reader import read_stretch
from aggregator.source import SETTLED_MS, FoldReader, Inference, folded_stream
from aggregator.topic_ends import TopicEnds
from localsystem.broker import Broker
from localsystem.system import LocalSystem
from tests.aggregator.doors import catalogue, encode, record


class Kafka:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.options: Mapping[str, str] = {"bootstrap.servers": broker.bootstrap_servers}
        self.admin = AdminClient(dict(self.options))
        self._topics = 0

    def topic(self, partitions: int = 1) -> str:
        self._topics += 1
        name = f"topic-{self._topics}"
        (future,) = self.admin.create_topics([NewTopic(name, partitions, 1)]).values()
        future.result(30)
        return name

    def send(self, topic: str, count: int, *, partition: int = 0, **options: str) -> None:
        producer = Producer({**self.options, **options})
        if "transactional.id" in options:
            producer.init_transactions(30)
            producer.begin_transaction()
        for number in range(count):
            producer.produce(topic, f"{number}".encode(), partition=partition)
        if "transactional.id" in options:
            producer.commit_transaction(30)
        assert producer.flush(30) == 0

    def reader(self, *topics: str, maximum_records: int = 100) -> FoldReader:
        return FoldReader(
            Inference(Brokers(self.broker.bootstrap_servers), topics, maximum_records, catalogue("doors"))
        )


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with LocalSystem(tmp_path_factory.mktemp("source")) as system:
        system.prepare()
        broker = system.start_broker()
        broker.wait_until_ready()
        yield Kafka(broker)


def read(kafka: Kafka, stretch: Stretch) -> list[tuple[str, int, bytes | None]]:
    parts: list[Messages] = list(read_stretch(kafka.options, stretch))
    return [row for part in parts for row in zip(part.sources, part.offsets, part.values, strict=True)]


def test_a_stretch_is_read_whole_and_no_further(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_reader, "AT_ONCE", 7)
    topic = kafka.topic(partitions=2)
    kafka.send(topic, 100, partition=1)
    expected = [(f"{topic}/1", at, f"{at}".encode()) for at in range(20, 60)]
    assert read(kafka, Stretch(topic, 1, 20, 60)) == expected
    assert read(kafka, Stretch(topic, 1, 60, 100)) == [(f"{topic}/1", at, f"{at}".encode()) for at in range(60, 100)]
    assert read(kafka, Stretch(topic, 1, 20, 60)) == expected


def test_a_tombstone_is_a_message(kafka: Kafka) -> None:
    topic = kafka.topic()
    producer = Producer(dict(kafka.options))
    producer.produce(topic, None, key=b"k")
    assert producer.flush(30) == 0
    assert read(kafka, Stretch(topic, 0, 0, 1)) == [(f"{topic}/0", 0, None)]


def test_offsets_of_transactions_markers_are_passed_over(kafka: Kafka) -> None:
    topic = kafka.topic()
    kafka.send(topic, 3, **{"transactional.id": "t"})
    kafka.send(topic, 2, **{"transactional.id": "t"})
    latest = TopicEnds(kafka.options, [topic]).latest()
    assert latest == {topic: {"0": 7}}
    assert [offset for _, offset, _ in read(kafka, Stretch(topic, 0, 0, 7))] == [0, 1, 2, 4, 5]
    assert read(kafka, Stretch(topic, 0, 3, 4)) == []


def test_messages_that_were_deleted_before_they_were_read_end_it(kafka: Kafka) -> None:
    topic = kafka.topic()
    kafka.send(topic, 10)
    (future,) = kafka.admin.delete_records([TopicPartition(topic, 0, 5)]).values()
    future.result(30)
    assert TopicEnds(kafka.options, [topic]).earliest() == {topic: {"0": 5}}
    with pytest.raises(SourceFailed, match=f"{topic}/0: messages from offset 2 on were deleted before"):
        read(kafka, Stretch(topic, 0, 2, 10))


def test_who_has_read_all_asks_for_more_once_heartbeats_of_the_second_are_there(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, waits = kafka.topic(), list[float]()
    kafka.send(topic, 150)
    monkeypatch.setattr(source, "clock_ms", lambda: 1_700_000_000_000 + SETTLED_MS - 40)
    monkeypatch.setattr(source, "time", SimpleNamespace(sleep=waits.append))
    reader = kafka.reader(topic, maximum_records=100)
    half = reader.latestOffset(reader.initialOffset(), reader.getDefaultReadLimit())
    whole = reader.latestOffset(half, reader.getDefaultReadLimit())
    assert waits == []
    assert reader.latestOffset(whole, reader.getDefaultReadLimit()) == whole == {topic: {"0": 150}}
    assert waits == [0.04]
    monkeypatch.setattr(source, "clock_ms", lambda: 1_700_000_000_000 + SETTLED_MS)
    reader.latestOffset(whole, reader.getDefaultReadLimit())
    assert waits == [0.04]


def test_what_does_not_come_is_not_waited_for_forever(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_reader, "PATIENCE_S", 3.0)
    topic = kafka.topic()
    kafka.send(topic, 3)
    with pytest.raises(SourceFailed, match=f"{topic}/0: nothing came from offset 3 on for"):
        read(kafka, Stretch(topic, 0, 0, 4))


def test_a_topic_that_is_not_there_is_named_and_one_of_a_monitor_that_is_gone_is_left_out(kafka: Kafka) -> None:
    topic = kafka.topic()
    assert TopicEnds(kafka.options, [topic], earlier=["nowhere"]).latest() == {topic: {"0": 0}}
    assert TopicEnds(kafka.options, [], earlier=["nowhere"]).latest() == {}
    with pytest.raises(SourceFailed, match="topic nowhere: the broker has none of this name: create it"):
        TopicEnds(kafka.options, ["nowhere"]).latest()


def test_a_broker_that_does_not_answer_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_ends, "PATIENCE_S", 0.0)
    monkeypatch.setattr(topic_ends, "ANSWER_S", 0.5)
    with pytest.raises(SourceFailed, match="Kafka has not answered for 0 s"):
        TopicEnds({"bootstrap.servers": "127.0.0.1:1"}, ["any"]).latest()


class TestFoldReader:
    def test_a_micro_batch_ends_where_it_is_large_enough(self, kafka: Kafka) -> None:
        topic = kafka.topic(partitions=2)
        kafka.send(topic, 300, partition=0)
        kafka.send(topic, 100, partition=1)
        reader = kafka.reader(topic, maximum_records=100)
        start = reader.initialOffset()
        end = reader.latestOffset(start, reader.getDefaultReadLimit())
        assert (start, end) == ({topic: {"0": 0, "1": 0}}, {topic: {"0": 75, "1": 25}})
        assert reader.reportLatestOffset() == {topic: {"0": 300, "1": 100}}
        assert reader.latestOffset(start, ReadAllAvailable()) == {topic: {"0": 300, "1": 100}}

    def test_partitions_that_are_new_are_read_from_their_beginning(self, kafka: Kafka) -> None:
        topic = kafka.topic()
        kafka.send(topic, 5)
        reader = kafka.reader(topic)
        before = reader.latestOffset(reader.initialOffset(), reader.getDefaultReadLimit())
        (future,) = kafka.admin.create_partitions([NewPartitions(topic, 2)]).values()
        future.result(30)
        kafka.send(topic, 7, partition=1)
        after = reader.latestOffset(before, reader.getDefaultReadLimit())
        assert [part.value for part in reader.partitions(before, after)] == [[Stretch(topic, 1, 0, 7)]]

    def test_a_long_partition_is_shared_by_the_machines_cores(
        self, kafka: Kafka, spark: SparkSession, tmp_path: Path
    ) -> None:
        topic, tasks = kafka.topic(), list[int]()
        kafka.send(topic, 2 * SLICE_MESSAGES)
        inference = Inference(Brokers(kafka.broker.bootstrap_servers), [topic], 1_000_000, catalogue("doors"))
        query = (
            folded_stream(spark, inference)
            .writeStream.foreachBatch(lambda folded, _: tasks.append(folded.rdd.getNumPartitions()))
            .option("checkpointLocation", str(tmp_path))
            .trigger(availableNow=True)
            .start()
        )
        assert query.awaitTermination(60)
        assert tasks == [2]

    def test_topics_that_are_no_longer_read_keep_their_offsets(self, kafka: Kafka) -> None:
        topic = kafka.topic()
        start: Offsets = {"gone": {"0": 4}, topic: {"0": 0}}
        reader = kafka.reader(topic)
        assert reader.latestOffset(start, reader.getDefaultReadLimit()) == start
        assert reader.partitions(start, start) == []

    def test_a_topic_that_was_made_anew_ends_it(self, kafka: Kafka) -> None:
        topic = kafka.topic()
        reader = kafka.reader(topic)
        with pytest.raises(SourceFailed, match=f"{topic}/0: shorter than what was read of it"):
            reader.latestOffset({topic: {"0": 4}}, reader.getDefaultReadLimit())

    def test_what_is_read_is_folded(self, kafka: Kafka) -> None:
        topic = kafka.topic()
        producer = Producer(dict(kafka.options))
        for message in (record(0), record(1)):
            producer.produce(topic, encode(message))
        producer.produce(topic, b"{")
        assert producer.flush(30) == 0
        rows: list[pa.RecordBatch] = list(kafka.reader(topic).read(InputPartition([Stretch(topic, 0, 0, 3)])))
        assert [batch.schema for batch in rows] == [FOLDED]
        assert rows[0].column("records").to_pylist() == [2, None]
        assert rows[0].column("key").to_pylist() == [None, f"{topic}/0/2"]


def test_the_brokers_password_is_not_shown() -> None:
    inference = Inference(Brokers("a:1", {"sasl.password": "hunter2"}), [], 1, catalogue("doors"))
    assert "hunter2" not in repr(inference)
    assert inference.options()["sasl.password"] == "hunter2"
