"""An observer of the topics that shares nothing with the parts observed but the records' format."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from localsystem import topics
from localsystem.errors import LocalSystemError
from tidegauge.errors import InvalidRecord
from tidegauge.kafka_spec import Topics
from tidegauge.records import Account, Heartbeat, InferenceRecord, decode

_READ_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class SeenRecord:
    outlier: bool
    added_ms: float
    """Time to the answer that was not the predictor's."""


@dataclass(frozen=True)
class SeenReport:
    """A window's report as read from Kafka. read_at_s: wall time, seconds since the epoch."""

    document: dict[str, Any]
    read_at_s: float

    @property
    def start_ms(self) -> int:
        return int(self.document["window"]["start_ms"])

    @property
    def end_ms(self) -> int:
        return int(self.document["window"]["end_ms"])

    @property
    def drifted_features(self) -> list[str]:
        return [feature["name"] for feature in self.document["features"] if feature["drifted"]]


class Watch(threading.Thread):
    """
    Reads the inference and statistics topics from their beginning until `stop`.

    records: by request id. repeated: further records with an id seen before. unreadable: by reason.
    accounts: each incarnation's latest. reports: one per window, the first that came.
    """

    def __init__(self, bootstrap_servers: str, names: Topics) -> None:
        super().__init__(name="watch", daemon=True)
        self.records: dict[str, SeenRecord] = {}
        self.repeated = 0
        self.unreadable: Counter[str] = Counter()
        self.accounts: dict[str, Account] = {}
        self.reports: dict[int, SeenReport] = {}
        self._reader = topics.Reader(bootstrap_servers, [names.inference.name, names.statistics.name])
        self._given = 0
        self._inference = names.inference.name
        self._stopping = threading.Event()
        self._error: LocalSystemError | None = None

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                for message in self._reader.read(within_s=_READ_S):
                    self._take(message)
        except LocalSystemError as error:
            self._error = error
        finally:
            self._reader.close()

    def check(self) -> None:
        """Raises LocalSystemError when the observer has had to give up."""
        if self._error is not None:
            raise self._error

    def wait_until(self, condition: Callable[[], bool], *, within_s: float) -> bool:
        """Whether the condition held before `within_s` had passed."""
        deadline = time.monotonic() + within_s
        while not condition():
            if self._error is not None:
                return False
            if time.monotonic() > deadline:
                return False
            time.sleep(_READ_S)
        return True

    def new_reports(self) -> list[SeenReport]:
        """In the order in which they came, each given once."""
        came = list(self.reports.values())
        new, self._given = came[self._given :], len(came)
        return new

    def reports_by_time(self) -> list[SeenReport]:
        return sorted(list(self.reports.values()), key=lambda report: report.start_ms)

    def _take(self, message: topics.Message) -> None:
        if message.topic != self._inference:
            report = SeenReport(orjson.loads(message.value), message.read_at_s)
            self.reports.setdefault(report.start_ms, report)
            return
        try:
            decoded = decode(message.value)
        except InvalidRecord as error:
            self.unreadable[error.reason] += 1
            return
        if isinstance(decoded, Heartbeat):
            self.accounts[f"{decoded.replica}/{decoded.incarnation}"] = decoded.account
        else:
            self._take_record(decoded)

    def _take_record(self, record: InferenceRecord) -> None:
        if record.id in self.records:
            self.repeated += 1
            return
        added_ms = record.latency_ms - record.upstream_ms
        self.records[record.id] = SeenRecord(any(record.outlier), added_ms)
