"""One sink's way out of the outbox, in a thread of its own: in order, again and again until it has worked."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import orjson
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential_jitter,
)

from aggregator.evaluate import Output
from aggregator.outbox import Entry, Outbox

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
"""Between two attempts, doubling from the first on, with up to a second by chance."""

IDLE_S: Final = 1.0

REFUSED_BYTES: Final = 64 << 20
"""So much of what a sink will never take is kept; beyond it, it is only counted."""

log = logging.getLogger("aggregator")


class SinkFailed(Exception):
    """Not now; perhaps later. Its text goes to the log: short, and without secrets or values."""


class Refused(Exception):
    """These will never be taken, whenever they come again; all others of the entry have been."""

    def __init__(self, reason: str, outputs: Sequence[Output]) -> None:
        super().__init__(reason)
        self.outputs = outputs


class Sink(Protocol):
    """Its name is that of its cursor, and a metric's label: the same over restarts."""

    @property
    def name(self) -> str: ...

    def write(self, outputs: Sequence[Output]) -> None:
        """
        All of an entry. Writing one again, as after a crash, is writing it once. Raises Refused when all but some are
        done, and anything else when it must be tried again.
        """

    def idle(self) -> None:
        """Called about once a second while nothing waits. May raise what `write` may."""

    def close(self) -> None: ...


class Courier:
    """delivered, failures, refused: entries, attempts and outputs since the start."""

    def __init__(self, sink: Sink, outbox: Outbox) -> None:
        self.sink, self._outbox = sink, outbox
        self.delivered = self.failures = self.refused = 0
        self.failing = False
        self._ending, self._cut_off = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sink-{sink.name}", daemon=True)

    @property
    def waiting(self) -> int:
        return self._outbox.waiting(self.sink.name)

    def start(self) -> None:
        self._thread.start()

    def finish(self, *, deadline: float) -> None:
        """Delivers what waits, unless it fails or the deadline (monotonic seconds) comes; the rest stays for later."""
        self._ending.set()
        if self.failing:
            self._cut_off.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._cut_off.set()
        self._thread.join(IDLE_S)
        if not self._thread.is_alive():
            self.sink.close()

    def _run(self) -> None:
        while not self._cut_off.is_set():
            if not self._step() and self._ending.is_set():
                return

    def _step(self) -> bool:
        """Whether there was something to deliver."""
        try:
            return bool(
                Retrying(
                    wait=wait_exponential_jitter(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S),
                    stop=stop_when_event_set(self._cut_off),
                    sleep=sleep_using_event(self._cut_off),
                    before_sleep=self._told_of_failure,
                )(self._attempt)
            )
        except RetryError:
            return False

    def _attempt(self) -> bool:
        entry = self._outbox.next(self.sink.name, within_s=0.0 if self._ending.is_set() else IDLE_S)
        if entry is None:
            if not self._ending.is_set():
                self.sink.idle()
        else:
            self._deliver(entry)
        if self.failing:
            log.info("sink_recovered sink=%s", self.sink.name)
            self.failing = False
        return entry is not None

    def _deliver(self, entry: Entry) -> None:
        try:
            self.sink.write(entry.outputs)
        except Refused as refused:
            self.refused += len(refused.outputs)
            log.error("sink_refused sink=%s outputs=%d reason=%s", self.sink.name, len(refused.outputs), refused)
            self._keep(refused)
        self._outbox.delivered(self.sink.name, entry.number)
        self.delivered += 1

    def _told_of_failure(self, state: RetryCallState) -> None:
        self.failures += 1
        self.failing = True
        if self._ending.is_set():
            self._cut_off.set()
        error = state.outcome.exception() if state.outcome else None
        what = f"{error}" if isinstance(error, SinkFailed) else type(error).__name__
        log.warning("sink_failing sink=%s failures=%d error=%s", self.sink.name, self.failures, what)

    def _keep(self, refused: Refused) -> None:
        """For somebody to look at; a line may come twice."""
        path: Path = self._outbox.directory / f"{self.sink.name}.refused.jsonl"
        if path.exists() and path.stat().st_size > REFUSED_BYTES:
            return
        with path.open("ab") as file:
            for output in refused.outputs:
                line = {"reason": str(refused), "kind": output.kind, "topic": output.topic, "key": output.key}
                file.write(orjson.dumps(line | {"value": output.value.decode("utf-8", "replace")}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
