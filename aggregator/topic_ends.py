"""Where the inference topics begin and end now, asked of the broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from aggregator.brokers import PATIENCE_S, silent
from aggregator.errors import SourceFailed
from aggregator.offsets import Offsets

ANSWER_S: Final = 10.0
PAUSE_S: Final = 0.5

Answer = TypeVar("Answer")


class TopicEnds:
    """
    topics: must be there. earlier: topics of monitors that are gone; they are left out once they are gone, too. Every
    method raises SourceFailed.
    """

    def __init__(self, options: Mapping[str, str], topics: Sequence[str], earlier: Sequence[str] = ()) -> None:
        self._client = AdminClient(dict(options), logger=silent)
        self._topics, self._earlier = topics, earlier

    def earliest(self) -> Offsets:
        return self._asked(lambda: self._offsets(OffsetSpec.earliest()))

    def latest(self) -> Offsets:
        return self._asked(lambda: self._offsets(OffsetSpec.latest()))

    def _offsets(self, which: Any) -> Offsets:
        wanted = {partition: which for partition in self._partitions()}
        if not wanted:
            return {}
        futures = self._client.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWER_S
        )
        offsets: Offsets = {}
        for partition, future in futures.items():
            offsets.setdefault(partition.topic, {})[str(partition.partition)] = future.result(ANSWER_S).offset
        return offsets

    def _partitions(self) -> list[TopicPartition]:
        names = [*self._topics, *self._earlier]
        described = self._client.describe_topics(TopicCollection(names), request_timeout=ANSWER_S)
        found = []
        for name, future in described.items():
            try:
                topic = future.result(ANSWER_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                if name in self._topics:
                    raise SourceFailed(f"topic {name}: the broker has none of this name: create it") from None
            else:
                found += [TopicPartition(name, partition.id) for partition in topic.partitions]
        return found

    def _asked(self, question: Callable[[], Answer]) -> Answer:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self._client.poll(0)  # takes the client's log lines, which would pile up
            try:
                return question()
            except (KafkaException, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise SourceFailed(f"Kafka has not answered for {PATIENCE_S:.0f} s: {error}") from error
                time.sleep(PAUSE_S)
