"""Progress of the query for the log: each micro-batch's phases, how far behind it is, and what the state holds."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
from pyspark.sql.streaming.query import StreamingQuery

log = logging.getLogger("aggregator")

TOLD_S: Final = 30.0
"""From one line on the stream's progress to the next."""

SLOW_MS: Final = 10_000
"""A micro-batch that takes longer is told of with its phases."""


@dataclass(frozen=True)
class MicroBatch:
    """
    One that has ended well. ended_s: when, UTC epoch. records: messages read. behind: those that wait, by topic.
    state_rows, state_memory_bytes: of Spark's state store.
    """

    ended_s: float = 0.0
    took_s: float = 0.0
    records: int = 0
    behind: Mapping[str, int] = field(default_factory=dict)
    state_rows: int = 0
    state_memory_bytes: int = 0


class QueryWatch:
    """Reads the query's last micro-batch as often as it is asked to; tells of each one once."""

    def __init__(self, told: Callable[[MicroBatch], None] = lambda _batch: None) -> None:
        self._hears = told
        self._batch = -1
        self._told_s = -math.inf
        self._records = 0

    def look(self, query: StreamingQuery) -> None:
        progress = query.lastProgress
        if progress is None or progress.batchId == self._batch:
            return
        self._batch = progress.batchId
        phases = {name: int(ms) for name, ms in progress.durationMs.items()}
        took_ms = phases.get("triggerExecution", 0)
        batch = _micro_batch(progress, took_ms / 1000)
        self._records += batch.records
        slow = took_ms > SLOW_MS
        log.log(
            logging.WARNING if slow else logging.DEBUG,
            "%s batch=%d records=%d took_ms=%d %s",
            "slow_micro_batch" if slow else "micro_batch",
            progress.batchId,
            batch.records,
            took_ms,
            " ".join(f"{name}_ms={ms}" for name, ms in sorted(phases.items())),
        )
        self._hears(batch)
        self._tell(progress, batch)

    def _tell(self, progress: Any, batch: MicroBatch) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s < TOLD_S:
            return
        since_s = now_s - self._told_s
        log.info(
            "progress batch=%d records_per_s=%.0f behind_records=%d batch_ms=%d state_memory_bytes=%d",
            progress.batchId,
            self._records / since_s if math.isfinite(since_s) else 0.0,
            sum(batch.behind.values()),
            progress.durationMs.get("triggerExecution", 0),
            batch.state_memory_bytes,
        )
        self._told_s, self._records = now_s, 0


def _micro_batch(progress: Any, took_s: float) -> MicroBatch:
    behind: dict[str, int] = {}
    read: dict[str, int] = {}
    for source in progress.sources:
        behind |= behind_of(source.endOffset, source.latestOffset)
        read |= behind_of(source.startOffset, source.endOffset)
    return MicroBatch(
        ended_s=datetime.fromisoformat(progress.timestamp).timestamp() + took_s,
        took_s=took_s,
        records=sum(read.values()),
        behind=behind,
        state_rows=sum(operator.numRowsTotal for operator in progress.stateOperators),
        state_memory_bytes=sum(operator.memoryUsedBytes for operator in progress.stateOperators),
    )


def behind_of(read: str | None, there: str | None) -> dict[str, int]:
    """Messages by topic between two of Kafka's offsets as Spark writes them; nothing for another source's."""
    ends, latest = (_offsets(text) for text in (read, there))
    return {
        topic: sum(max(0, offset - ends.get(topic, {}).get(number, offset)) for number, offset in parts.items())
        for topic, parts in latest.items()
    }


def _offsets(text: str | None) -> dict[str, dict[str, int]]:
    try:
        document = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    found = document if isinstance(document, dict) else {}
    return {topic: parts for topic, parts in found.items() if isinstance(parts, dict)}
