"""The query: folded source -> keyed windows -> outbox."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from aggregator.catalogue import Catalogue
from aggregator.clock import clock_ms
from aggregator.errors import DeliveryStopped, told
from aggregator.evaluate import ALERT, CLOSED, LATE, STATE, TALLY
from aggregator.fold import FOLDED_COLUMNS, Messages, fold
from aggregator.outbox import Outbox
from aggregator.packed import PARCEL_COLUMNS, Parcel, parcels_in
from aggregator.state import WindowProcessor

log = logging.getLogger("aggregator")

DEAD_LETTER_LOG_S: Final = 10.0
"""At most one line in this time, with the counts since the last."""

STATE_LOG_S: Final = 30.0
"""The same for what the state holds, over all monitors that have told of it since."""

ROOM_S: Final = 5.0
"""From one look for room in the outbox to the next, with a line in the log."""

WINDOWS: Final = "windows"
"""Directory in the checkpoint of what is kept of windows."""

SOURCE_COLUMNS: Final = ("topic", "partition", "offset", "value")
"""What the fold reads of a DataFrame of messages, as Spark's Kafka source names it."""


class Watcher(Protocol):
    """Looks at what goes out, for metrics: (kind, document). Must be quick, and must not raise."""

    def __call__(self, kind: str, document: dict[str, Any]) -> None: ...


def folded_of(source: DataFrame, catalogue: Catalogue) -> DataFrame:
    """source: with SOURCE_COLUMNS, wherever its messages are from. Gives fold.FOLDED_COLUMNS."""
    return source.select(*SOURCE_COLUMNS).mapInArrow(partial(_fold, catalogue), FOLDED_COLUMNS)


def stepped(folded: DataFrame, catalogue: Catalogue, directory: Path | None = None) -> DataFrame:
    """
    folded: streaming, with fold.FOLDED_COLUMNS. directory: of the query's own, where all that runs its tasks can write
    and read windows; None to keep them in Spark's state. Gives PARCEL_COLUMNS.
    """
    return folded.groupBy("shard").transformWithStateInPandas(
        WindowProcessor(catalogue, directory),
        outputStructType=PARCEL_COLUMNS,
        outputMode="Append",
        timeMode="ProcessingTime",
    )


def start(
    folded: DataFrame,
    catalogue: Catalogue,
    outboxes: Sequence[Outbox],
    *,
    checkpoint: Path,
    trigger: dict[str, Any],
    stopping: threading.Event,
    watcher: Watcher = lambda _kind, _document: None,
) -> StreamingQuery:
    """
    folded: as `stepped` takes it. trigger: as DataStreamWriter.trigger takes it. stopping: once it is set, no
    micro-batch is begun any more.
    """
    return (
        stepped(folded, catalogue, checkpoint.absolute() / WINDOWS)
        .writeStream.queryName("tidegauge")
        .outputMode("append")
        .option("checkpointLocation", str(checkpoint))
        .foreachBatch(Delivery(outboxes, stopping, watcher))
        .trigger(**trigger)
        .start()
    )


def _fold(catalogue: Catalogue, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return fold(map(Messages.of, batches), catalogue, clock_ms)


class Delivery:
    """
    One micro-batch to disk, from where each sink takes it at its own pace. What is cut off before that is done again
    after a restart. Where there is no room, or the disk is full, the stream waits. Once `stopping` is set no further
    micro-batch begins, so that a stop never cuts one off.
    """

    def __init__(self, outboxes: Sequence[Outbox], stopping: threading.Event, watcher: Watcher) -> None:
        self._outboxes, self._stopping, self._watcher = outboxes, stopping, watcher
        self._dead: Counter[str] = Counter()
        self._told_s = -math.inf
        self._states: dict[str, dict[str, Any]] = {}
        self._states_told_s = -math.inf

    def __call__(self, outputs: DataFrame, _batch_id: int) -> None:
        if self._stopping.is_set():
            raise DeliveryStopped("asked to stop")
        try:
            self._deliver(outputs)
        except DeliveryStopped:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the micro-batch is not delivered
            raise DeliveryStopped(told(error)) from None

    def _deliver(self, outputs: DataFrame) -> None:
        # All at once, for what is asked for again is computed again, and the state behind it must not be stepped twice.
        # By Arrow: as rows, Spark's pickler would turn each byte of a report into a character, and we those into bytes.
        parcels = list(parcels_in(outputs.toArrow()))
        if parcels:
            self._append(parcels)
        for parcel in parcels:
            if parcel.kind in _TOLD:
                document = orjson.loads(parcel.value)
                self._log(parcel.kind, document)
                self._watcher(parcel.kind, document)
        self._log_dead_letters()
        self._log_states()

    def _append(self, parcels: Sequence[Parcel]) -> None:
        for outbox in self._outboxes:
            self._wait(lambda outbox=outbox: outbox.wait_for_room(within_s=ROOM_S), "outbox_full the sinks are behind")  # type: ignore[misc]
        while not self._stopping.is_set():
            try:
                for outbox in self._outboxes:
                    outbox.append(parcels)
                return
            except OSError as error:
                log.error("outbox_unwritable %s; trying again", error.strerror)
                self._stopping.wait(ROOM_S)
        raise DeliveryStopped("asked to stop")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        while not condition():
            log.warning("%s: the stream waits", what)
            if self._stopping.is_set():
                raise DeliveryStopped("asked to stop")

    def _log(self, kind: str, document: dict[str, Any]) -> None:
        if kind == TALLY:
            self._dead[document["reason"]] += document["count"]
        elif kind == LATE:
            _log_account(document)
        elif kind == ALERT:
            _log_alert(document)
        elif kind == STATE:
            self._states[document["monitor"]] = document
        elif kind == CLOSED:
            _log_closed(document)

    def _log_dead_letters(self) -> None:
        now_s = time.monotonic()
        if not self._dead or now_s - self._told_s < DEAD_LETTER_LOG_S:
            return
        log.warning("dead_letters %s", " ".join(f"{reason}={count}" for reason, count in sorted(self._dead.items())))
        self._dead.clear()
        self._told_s = now_s

    def _log_states(self) -> None:
        now_s = time.monotonic()
        if not self._states or now_s - self._states_told_s < STATE_LOG_S:
            return
        states = self._states.values()
        slowest = max(states, key=lambda state: state["lag_ms"])
        log.info(
            "state monitors=%d slowest=%s lag_ms=%d open_windows=%d kept_windows=%d state_bytes=%d late_records=%d",
            len(states),
            slowest["monitor"],
            slowest["lag_ms"],
            *(sum(state[name] for state in states) for name in _ADDED_UP),
        )
        self._states.clear()
        self._states_told_s = now_s


_TOLD: Final = frozenset({CLOSED, ALERT, LATE, STATE, TALLY})
"""Kinds that the log or a metric has something of."""

_ADDED_UP: Final = ("open_windows", "kept_windows", "state_bytes", "late_records")


def _log_closed(document: dict[str, Any]) -> None:
    log.info(
        "window_closed monitor=%s version=%s start_ms=%d requests=%d completeness=%s drifted=%s worst=%s",
        document["monitor"],
        document["version"],
        document["start_ms"],
        document["window_requests"],
        document["completeness"],
        document["drifted"],
        document["worst_feature"],
    )


def _log_alert(document: dict[str, Any]) -> None:
    log.log(
        logging.WARNING if document["notify"] else logging.INFO,
        "alert status=%s about=%s severity=%s features=%d id=%s",
        document["status"],
        document["about"],
        document["severity"],
        len(document["features"]),
        document["id"],
    )


def _log_account(document: dict[str, Any]) -> None:
    log.warning(
        "%s monitor=%s version=%s start_ms=%d records=%d",
        document["reason"],
        document["monitor"],
        document["version"],
        document["window"]["start_ms"],
        document["records"],
    )
