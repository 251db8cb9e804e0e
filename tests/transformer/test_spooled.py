"""What Kafka does not take waits on disk and is sent in order when it is back, or by the next process."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from localsystem.broker import Broker
from localsystem.system import LocalSystem
from tidegauge.kafka_spec import Topic, Topics
from transformer.capture import Ledger
from transformer.spool import Spool
from transformer.spool_file import RECORD, SUFFIX, Message, SpoolFile
from transformer.spooled import QUEUE_HIGH, SpooledPublisher

NOWHERE = "127.0.0.1:1"
ROOM = 64 << 20
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with LocalSystem(tmp_path_factory.mktemp("system")) as system:
        system.prepare()
        broker = system.start_broker()
        broker.wait_until_ready()
        yield broker


@dataclass
class Process:
    """What one process has: a ledger, a spool, a publisher, polled as the recorder does."""

    ledger: Ledger
    publisher: SpooledPublisher

    def serve(self, number: int, *, size: int = 200) -> None:
        for _ in range(number):
            seq = self.ledger.arrive(0)
            self.publisher.publish(f"id-{seq}", b"%d " % seq + bytes(size))

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {WITHIN_S:.0f} s: {what}: {self.ledger.account()}"
            await asyncio.sleep(0.01)
            self.publisher.poll()
            assert self.ledger.account().balances()

    async def stop(self) -> None:
        if await self.publisher.flush(5.0):
            await self.publisher.give_up()
        await self.publisher.close()


@asynccontextmanager
async def process(
    directory: Path, servers: str, *, own: str = "one", room: int = ROOM, topic: str = "inference", **options: Any
) -> AsyncIterator[Process]:
    ledger = Ledger(0)
    spool = Spool(directory, own=own, maximum_bytes=room, ledger=ledger)
    publisher = SpooledPublisher(
        servers,
        inference_topic=topic,
        outliers_topic=f"{topic}-outliers",
        ledger=ledger,
        spool=spool,
        options={key.replace("_", "."): value for key, value in options.items()},
    )
    running = Process(ledger, publisher)
    yield running
    await running.stop()


def read_topic(servers: str, topic: str) -> dict[int, list[tuple[bytes, bytes]]]:
    """Keys and values of each partition, from its beginning to its present end."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "t", "log_level": 0})
    found: dict[int, list[tuple[bytes, bytes]]] = {}
    for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
        at = TopicPartition(topic, partition, 0)
        consumer.assign([at])
        _, end = consumer.get_watermark_offsets(at, timeout=10)
        messages = found.setdefault(partition, [])
        deadline = time.monotonic() + WITHIN_S
        while len(messages) < end and time.monotonic() < deadline:
            messages += [(m.key(), m.value()) for m in consumer.consume(1000, 0.5) if m.error() is None]
    consumer.close()
    return found


def seqs(messages: list[tuple[bytes, bytes]]) -> list[int]:
    return [int(value.split(b" ")[0]) for _, value in messages]


def test_what_was_left_on_disk_is_sent_by_the_next_process(tmp_path: Path, broker: str) -> None:
    async def main() -> None:
        async with process(tmp_path, NOWHERE, queue_buffering_max_messages=10) as first:
            first.serve(50)
            first.publisher.publish_outlier("id-7", b"copy")
            first.publisher.publish_heartbeat("pod/1", b"heartbeat")
            await first.until(lambda: first.ledger.account().spooled == 40, "what the queue has no room for is on disk")
            assert first.ledger.account().in_flight == 10
        left = first.ledger.account()
        assert (left.spooled, left.in_flight, dict(left.dropped)) == (50, 0, {})

        async with process(tmp_path, broker, own="two") as second:
            await second.until(lambda: second.publisher.inherited["acknowledged"] == 50, "all are acknowledged")
            second.serve(1)
            await second.until(lambda: second.ledger.account().acknowledged == 1, "its own too")
        assert second.ledger.account().served == 1
        assert list(tmp_path.iterdir()) == []

    asyncio.run(main())
    topic = read_topic(broker, "inference")
    records = [message for messages in topic.values() for message in messages if message[1] != b"heartbeat"]
    assert sorted(seqs(records)) == [1, *range(1, 51)]
    assert all(seqs(of) == sorted(seqs(of)) for of in ([m for m in p if m in records][:-1] for p in topic.values()))
    assert sum(len(messages) for messages in topic.values()) == 52
    assert [m for p in read_topic(broker, "inference-outliers").values() for m in p] == [(b"id-7", b"copy")]


def test_while_kafka_takes_all_nothing_goes_to_disk(tmp_path: Path, broker: str) -> None:
    async def main() -> None:
        async with process(tmp_path, broker) as only:
            only.serve(2_000)
            await only.until(lambda: only.ledger.account().acknowledged == 2_000, "all are acknowledged")
            assert only.publisher.spool.records == 0

    asyncio.run(main())


def test_a_broker_that_takes_nothing_for_seconds_is_reason_enough(tmp_path: Path) -> None:
    async def main() -> None:
        async with process(tmp_path, NOWHERE) as only:
            only.serve(1)
            served = Counter(first=1)

            def one_more_is_on_disk() -> bool:
                only.serve(1)
                served["more"] += 1
                return only.ledger.account().spooled > 0

            await only.until(one_more_is_on_disk, "few records go to disk too")
        assert only.ledger.account().spooled == served.total()

    asyncio.run(main())


def test_a_full_spool_drops_what_comes_last_and_counts_it(tmp_path: Path, broker: str) -> None:
    async def main() -> None:
        async with process(tmp_path, NOWHERE, room=400_000, queue_buffering_max_messages=5) as first:
            first.serve(5)
            for _ in range(100):
                first.serve(1, size=10_000)
                await first.until(lambda: first.publisher.spool.is_settled, "it is written")
        left = first.ledger.account()
        assert left.dropped.keys() <= {"spool_full", "stopped"}
        assert left.dropped["spool_full"] + left.spooled + left.dropped.get("stopped", 0) == 105
        assert left.spooled >= 20

        async with process(tmp_path, broker, own="two", room=400_000) as second:
            await second.until(lambda: second.publisher.inherited["acknowledged"] == left.spooled, "they are sent")

    asyncio.run(main())


def test_files_of_processes_that_live_are_not_touched(tmp_path: Path, broker: str) -> None:
    async def main() -> None:
        async with (
            process(tmp_path, NOWHERE, queue_buffering_max_messages=1) as first,
            process(tmp_path, broker, own="two") as second,
        ):
            first.serve(10)
            await first.until(lambda: first.ledger.account().spooled == 9, "its records are on disk")
            second.serve(1)
            await second.until(lambda: second.ledger.account().acknowledged == 1, "the other serves")
            assert second.publisher.inherited == {}

    asyncio.run(main())


def test_a_damaged_file_is_set_aside_and_the_others_are_sent(tmp_path: Path, broker: str) -> None:
    (tmp_path / f"bad{SUFFIX}").write_bytes(os.urandom(5_000))
    whole = SpoolFile(tmp_path / f"good{SUFFIX}", maximum_bytes=ROOM)
    whole.append([Message(RECORD, "id", b"1 ")])
    whole.close()

    async def main() -> None:
        async with process(tmp_path, broker) as only:
            await only.until(lambda: only.publisher.inherited["acknowledged"] == 1, "the whole file's record is sent")
            assert only.publisher.spool.damaged == 1

    asyncio.run(main())
    assert [path.name for path in tmp_path.iterdir()] == ["bad.damaged"]


def test_through_an_outage_nothing_is_lost_and_order_is_kept(tmp_path: Path, kafka: Broker) -> None:
    topic = Topic("outage", partitions=4)

    async def main() -> None:
        from localsystem.topics import create_topics

        create_topics(kafka.bootstrap_servers, Topics(inference=topic))
        async with process(tmp_path, kafka.bootstrap_servers, topic=topic.name) as only:
            only.serve(1_000)
            await only.until(lambda: only.ledger.account().acknowledged > 0, "it begins well")
            kafka.process.kill()
            for _ in range(5):
                only.serve(QUEUE_HIGH // 2)
                await asyncio.sleep(0)
                only.publisher.poll()
            await only.until(lambda: only.ledger.account().spooled > 0, "records are on disk")
            again = kafka.run_again()
            again.wait_until_ready()

            def served_on() -> bool:
                only.serve(50)
                return only.ledger.account().spooled == 0

            await only.until(served_on, "the disk is empty although traffic goes on")
            await only.until(lambda: only.ledger.account().in_flight == 0, "all are acknowledged")
            only.serve(10)
            await only.until(lambda: only.ledger.account().in_flight == 0, "the direct way again")
        account = only.ledger.account()
        assert (account.acknowledged, dict(account.dropped)) == (account.served, {})

        topics = read_topic(kafka.bootstrap_servers, topic.name)
        assert sorted(seq for messages in topics.values() for seq in seqs(messages)) == list(
            range(1, account.served + 1)
        )
        assert len(topics) == 4
        for messages in topics.values():
            assert seqs(messages) == sorted(seqs(messages))

    asyncio.run(main())
