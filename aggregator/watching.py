"""Progress of the query for the log: each micro-batch's phases, how far behind it is, and what the state holds."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from pyspark.sql.streaming.query import StreamingQuery

log = logging.getLogger("aggregator")

TOLD_S: Final = 30.0
"""From one line on the stream's progress to the next."""

SLOW_MS: Final = 10_000
"""A micro-batch that takes longer is told of with its phases."""


class QueryWatch:
    """Reads the query's last micro-batch as often as it is asked to; tells of each one once."""

    def __init__(self, told: Callable[[Mapping[str, float]], None] = lambda _progress: None) -> None:
        """told: hears of each micro-batch: batch_s, records, behind_records."""
        self._hears = told
        self._batch = -1
        self._told_s = -math.inf
        self._rows = 0

    def look(self, query: StreamingQuery) -> None:
        progress = query.lastProgress
        if progress is None or progress.batchId == self._batch:
            return
        self._batch = progress.batchId
        phases = {name: int(ms) for name, ms in progress.durationMs.items()}
        took_ms = phases.get("triggerExecution", 0)
        self._rows += progress.numInputRows
        slow = took_ms > SLOW_MS
        log.log(
            logging.WARNING if slow else logging.DEBUG,
            "%s batch=%d rows=%d took_ms=%d %s",
            "slow_micro_batch" if slow else "micro_batch",
            progress.batchId,
            progress.numInputRows,
            took_ms,
            " ".join(f"{name}_ms={ms}" for name, ms in sorted(phases.items())),
        )
        behind = sum(_number(source.metrics or {}, "avgOffsetsBehindLatest") for source in progress.sources)
        self._hears({"batch_s": took_ms / 1000, "records": progress.numInputRows, "behind_records": behind})
        self._tell(progress, behind)

    def _tell(self, progress: Any, behind: float) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s < TOLD_S:
            return
        memory = sum(operator.memoryUsedBytes for operator in progress.stateOperators)
        since_s = now_s - self._told_s
        log.info(
            "progress batch=%d records_per_s=%.0f behind_records=%.0f batch_ms=%d state_memory_bytes=%d",
            progress.batchId,
            self._rows / since_s if math.isfinite(since_s) else 0.0,
            behind,
            progress.durationMs.get("triggerExecution", 0),
            memory,
        )
        self._told_s, self._rows = now_s, 0


def _number(metrics: Mapping[str, str], name: str) -> float:
    try:
        return float(metrics.get(name, 0.0))
    except ValueError:
        return 0.0
