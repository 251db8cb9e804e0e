"""
A publisher with a spool behind it: what Kafka does not take goes to disk, and from there to Kafka when it is back.

Order. While anything waits on disk, everything new goes there too, and what is read goes out before what comes later.
So the messages of one partition keep their order, through an outage and through a restart. What had not ended when a
process was killed is sent again: consumers tell repetitions by incarnation and `seq`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from transformer.capture import Ledger
from transformer.publisher import Publisher, reason_of
from transformer.spool import Chunk, Spool
from transformer.spool_file import COPY, HEARTBEAT, RECORD, Message, Numbered, SpoolDamaged, SpoolFile, SpoolFull

QUEUE_HIGH: Final = 10_000
"""Messages in memory; with more, new ones go to disk. What is in memory is lost when the process is killed."""
QUEUE_LOW: Final = 2_000
"""With fewer, messages are read from disk."""
STALLED_S: Final = 3.0
"""When nothing has ended for so long although messages wait, new ones go to disk."""

_log = logging.getLogger("transformer.spool")


class Purged(NamedTuple):
    """A message that was taken out of the queue at the end. read: where it stands in a file, if it came from one."""

    message: Message
    in_flight: bool
    read: tuple[Chunk, Numbered] | None

    @property
    def file(self) -> SpoolFile | None:
        """That of another process; None: ours."""
        return self.read[0].file if self.read is not None and self.read[0].inherited else None


class SpooledPublisher(Publisher):
    """inherited: records of earlier processes by how they ended: "acknowledged", or a reason of DROP_REASONS."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        inference_topic: str,
        outliers_topic: str,
        ledger: Ledger,
        spool: Spool,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Raises InvalidKafka."""
        super().__init__(
            bootstrap_servers,
            inference_topic=inference_topic,
            outliers_topic=outliers_topic,
            on_acknowledged=ledger.acknowledge,
            on_dropped=ledger.drop,
            options={"delivery.timeout.ms": 0} | (options or {}),  # none: it waits until Kafka is back or we stop
        )
        self._ledger, self.spool = ledger, spool
        self.inherited: Counter[str] = Counter()
        self._diverting = self.spool.has_unread
        self._answers = False
        self._stopping = False
        self._moved = time.monotonic()
        self._chunks: set[Chunk] = set()
        self._unsent: deque[tuple[Chunk, Numbered]] = deque()
        self._purged: list[Purged] = []

    def publish(self, key: str, record: bytes) -> None:
        if self._diverting:
            self.spool.keep(Message(RECORD, key, record))
        else:
            self._send(RECORD, key, record)

    def publish_outlier(self, key: str, record: bytes) -> None:
        if self._diverting:
            self.spool.keep(Message(COPY, key, record))
        else:
            self._send(COPY, key, record)

    def publish_heartbeat(self, key: str, heartbeat: bytes) -> None:
        if self._diverting:
            self.spool.keep(Message(HEARTBEAT, key, heartbeat))
        else:
            self._send(HEARTBEAT, key, heartbeat)

    def poll(self) -> None:
        super().poll()
        waiting, now = self.waiting, time.monotonic()
        if not waiting:
            self._moved = now
        if not self._diverting and (waiting >= QUEUE_HIGH or self._is_stalled(now)):
            self._divert()
        if self._diverting and not self._stopping:
            self._send_again(waiting)

    async def flush(self, timeout_s: float) -> int:
        """
        Waits until everything has ended and nothing is on disk, or the time is over; not while Kafka takes nothing.
        Returns how much is left.
        """
        deadline = time.monotonic() + timeout_s
        while left := self._left():
            now = time.monotonic()
            if now > deadline or self._is_stalled(now):
                break
            await asyncio.sleep(0.005)
            self.poll()
        return left

    async def give_up(self) -> None:
        """What is still under way goes to disk, before what came later."""
        self._stopping = self._diverting = True
        self._purge()
        self._unsent.clear()
        # What a broker may have had already came before what was still in the queue.
        purged, self._purged = sorted(self._purged, key=lambda entry: not entry.in_flight), []
        for file in {entry.file for entry in purged}:
            await self._put_back(file, [entry for entry in purged if entry.file is file])
        for chunk in self._chunks:
            self.spool.remove(chunk)
        self._chunks.clear()

    async def close(self) -> None:
        await self.spool.close()

    async def _put_back(self, file: SpoolFile | None, purged: list[Purged]) -> None:
        try:
            await self.spool.put_back(file, [entry.message for entry in purged])
        except (SpoolFull, SpoolDamaged) as error:
            _log.warning("not_spooled reason=stopped messages=%d why=%s", len(purged), error)
            kept = [entry for entry in purged if entry.read is not None]  # where they stand
        else:
            kept = purged
            for entry in purged:
                if entry.read is not None:
                    chunk, numbered = entry.read
                    chunk.ended.append(numbered)  # where it stood; it has another place now
        if file is None:
            number = _records(kept)
            self._ledger.spool(number)
            self._ledger.drop("stopped", _records(purged) - number)

    def _left(self) -> int:
        """Messages that have not ended, as far as they have to be waited for."""
        if self._stopping:
            return self.waiting
        return self.waiting + len(self._unsent) + (not self.spool.is_settled) + self.spool.has_unread

    def _is_stalled(self, now: float) -> bool:
        return now - self._moved > STALLED_S

    def _divert(self) -> None:
        self._diverting, self._answers = True, False
        _log.warning("spooling waiting=%d (Kafka takes less than is served)", self.waiting)

    def _overflowed(self, kind: int, key: str, value: bytes) -> None:
        self._divert()
        self.spool.keep(Message(kind, key, value))

    def _send_again(self, waiting: int) -> None:
        """The next messages of the disk, as far as Kafka takes them; then back to the direct way."""
        while self._unsent and self._resent(*self._unsent[0]):
            self._unsent.popleft()
        if self._unsent or self.spool.reading or waiting >= QUEUE_LOW or self._is_stalled(time.monotonic()):
            return
        if self.spool.has_unread:
            self.spool.read(self._taken)
        elif self.spool.is_settled and (self._answers or not waiting):
            self._diverting = False
            _log.info("spool_read inherited=%s (Kafka takes records again)", dict(self.inherited))

    def _taken(self, chunk: Chunk) -> None:
        if self._stopping:
            return  # it stays where it is, for the next process
        self._chunks.add(chunk)
        self._unsent.extend((chunk, numbered) for numbered in chunk.messages)
        self.poll()

    def _resent(self, chunk: Chunk, numbered: Numbered) -> bool:
        """False where there is no room for it now."""
        kind, key, value = numbered.message
        try:
            report = partial(self._again_reported, chunk, numbered)
            self._producer.produce(self._topics[kind], value, key, on_delivery=report)
        except BufferError:
            return False
        except KafkaException as error:
            self._count_out(chunk, kind)
            self._ended_again(chunk, numbered, reason_of(error.args[0]), str(error))
        else:
            self._count_out(chunk, kind)
        return True

    def _count_out(self, chunk: Chunk, kind: int) -> None:
        if kind == RECORD and not chunk.inherited:
            self._ledger.unspool()

    def _again_reported(self, chunk: Chunk, numbered: Numbered, error: KafkaError | None, _message: Any) -> None:
        if not self._was_purged(error, numbered.message, (chunk, numbered)):
            self._ended_again(chunk, numbered, None if error is None else reason_of(error), error and error.str())

    def _ended_again(self, chunk: Chunk, numbered: Numbered, reason: str | None, why: str | None) -> None:
        self._moved, self._answers = time.monotonic(), True
        kind = numbered.message.kind
        if kind == RECORD and chunk.inherited:
            self.inherited[reason or "acknowledged"] += 1
        elif kind == RECORD and reason is None:
            self._on_acknowledged()
        elif reason is not None:
            self._not_sent(kind, reason, why or "")
        chunk.ended.append(numbered)
        if len(chunk.ended) == len(chunk.messages):
            self._chunks.discard(chunk)
            self.spool.remove(chunk)

    def _record_reported(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self._moved, self._answers = time.monotonic(), True
            self._on_acknowledged()
        elif not self._was_purged(error, _of(RECORD, message)):
            super()._record_reported(error, message)

    def _copy_reported(self, error: KafkaError | None, message: Any) -> None:
        if error is not None and not self._was_purged(error, _of(COPY, message)):
            super()._copy_reported(error, message)

    def _heartbeat_reported(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self._moved, self._answers = time.monotonic(), True
        elif not self._was_purged(error, _of(HEARTBEAT, message)):
            super()._copy_reported(error, message)

    def _was_purged(
        self, error: KafkaError | None, message: Message, read: tuple[Chunk, Numbered] | None = None
    ) -> bool:
        """Taken out of the queue because we stop."""
        if error is None or error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return False
        self._purged.append(Purged(message, error.code() == KafkaError._PURGE_INFLIGHT, read))
        return True


def _of(kind: int, message: Any) -> Message:
    return Message(kind, message.key().decode(), message.value())


def _records(purged: list[Purged]) -> int:
    return sum(entry.message.kind == RECORD for entry in purged)
