"""A monitor of doors with windows of 5 s, a watermark of 2 s and a lateness of 10 s, and its traffic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

import pyarrow as pa

from aggregator.catalogue import Catalogue
from aggregator.progress import WindowKey
from tests.support.examples import make_heartbeat, make_record, mixed_profile, monitor_document
from tidegauge.baseline import BaselineProfile
from tidegauge.monitor import parse_monitor
from tidegauge.records import Heartbeat, InferenceRecord, encode_heartbeat, encode_record
from tidegauge.report import WindowReport
from tidegauge.summaries.window_summary import summarise
from tidegauge.verdict import judge
from tidegauge.windows import Window

Message: TypeAlias = InferenceRecord | Heartbeat

START_MS = 1_700_000_000_000
"""Begins a window and a second."""

NOW_MS = START_MS + 3_600_000

WATERMARK_MS = 2_000
LATENESS_MS = 10_000


@cache
def profile() -> BaselineProfile:
    return mixed_profile()


@cache
def catalogue(*names: str) -> Catalogue:
    monitors = {}
    for name in names or ("doors",):
        document = monitor_document(
            windows={"duration": "5s", "slide": "5s", "watermark": "2s", "lateness": "10s", "minCount": 100},
            drift={"own": {"report": ["tests.support.own:largest_gap"]}},
            statistics={"own": ["tests.support.own:WholeNumbers"]},
        )
        monitors[name] = parse_monitor(document | {"metadata": {"name": name}})
    return Catalogue(monitors, dict.fromkeys(monitors, profile().content_id), {profile().content_id: profile().dump()})


def record(at_ms: int, **changes: Any) -> InferenceRecord:
    """at_ms: since START_MS; two with the same are one that came twice."""
    return make_record(**{"time_ms": START_MS + at_ms, "seq": at_ms + 1, "baseline": profile().content_id} | changes)


def heartbeat(at_ms: int, **changes: Any) -> Heartbeat:
    return make_heartbeat(**{"time_ms": START_MS + at_ms, "baseline": profile().content_id} | changes)


def traffic(seconds: int, *, per_second: int = 20) -> list[Message]:
    """One incarnation from START_MS on, with all its heartbeats, in the order of time."""
    messages: list[Message] = []
    for second in range(seconds):
        messages.append(heartbeat(second * 1000, seq=second * per_second))
        for number in range(per_second):
            seq = second * per_second + number + 1
            values = [[165.0 + seq % 17, ("blue", "green", "red")[seq % 3], seq % 5 == 0]]
            at_ms = second * 1000 + number * 1000 // per_second
            messages.append(record(at_ms, id=str(seq), seq=seq, features=values, outlier=[seq % 50 == 0]))
    messages.append(heartbeat(seconds * 1000, seq=seconds * per_second, final=True))
    return messages


def encode(message: Message) -> bytes:
    return encode_record(message) if isinstance(message, InferenceRecord) else encode_heartbeat(message)


def arrow(values: Sequence[bytes | None], *, first_offset: int = 0, partition: int = 0) -> pa.RecordBatch:
    """As the Kafka source gives them."""
    columns = {
        "topic": ["tidegauge.inference"] * len(values),
        "partition": pa.array([partition] * len(values), pa.int32()),
        "offset": pa.array(range(first_offset, first_offset + len(values)), pa.int64()),
        "value": pa.array(values, pa.binary()),
    }
    return pa.RecordBatch.from_pydict(columns)


def arrow_of(messages: Iterable[Message], *, partition: int = 0) -> pa.RecordBatch:
    return arrow([encode(message) for message in messages], partition=partition)


def judged(start_ms: int = 0, *, revision: int = 0, seconds: int = 5) -> WindowReport:
    """On one window with all of the traffic of so many seconds."""
    messages = traffic(seconds)
    records = [message for message in messages if isinstance(message, InferenceRecord)]
    beats = [message for message in messages if isinstance(message, Heartbeat)]
    return judge(
        monitor=catalogue().monitors["doors"],
        profile=profile(),
        version="1",
        window=window_key(start_ms).window,
        summary=summarise(records, beats, profile()),
        revision=revision,
    )


def window_key(start_ms: int, version: str = "1") -> WindowKey:
    """start_ms: since START_MS."""
    window = Window(START_MS + start_ms, START_MS + start_ms + 5_000)
    return WindowKey(version, profile().content_id, window.start_ms, window.end_ms)
