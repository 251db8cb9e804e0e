from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.fold import fold_batch, part_of
from aggregator.windows import (
    CHECK_MS,
    MAXIMUM_CREDIT_MS,
    SILENCE_MS,
    Closed,
    Late,
    Part,
    Progress,
    Step,
    WindowKey,
    take,
    wake,
)
from tests.aggregator.doors import (
    NOW_MS,
    START_MS,
    WATERMARK_MS,
    Message,
    arrow_of,
    catalogue,
    heartbeat,
    profile,
    record,
    traffic,
    window_key,
)
from tidegauge.records import Heartbeat, InferenceRecord
from tidegauge.summaries.window_summary import WindowSummary, summarise
from tidegauge.verdict import judge


class Shelf(dict[WindowKey, bytes]):
    """aggregator.windows.Store that holds its user to the contract: no key is asked for that is not there."""

    def get(self, key: WindowKey) -> bytes:  # type: ignore[override]
        return self[key]

    def put(self, key: WindowKey, summary: bytes) -> None:
        self[key] = summary

    def remove(self, key: WindowKey) -> None:
        del self[key]


class Stream:
    """One monitor's windows over several micro-batches, its state carried as bytes as Spark carries it."""

    def __init__(self) -> None:
        self.store = Shelf()
        self.state = Progress().encode()
        self.closed: list[Closed] = []
        self.late: list[Late] = []

    @property
    def progress(self) -> Progress:
        return Progress.decode(self.state)

    def take(self, messages: Iterable[Message], now_ms: int = NOW_MS) -> None:
        parts = parts_of(messages)
        self._keep(take(self.progress, parts, watermark_ms=WATERMARK_MS, now_ms=now_ms, store=self.store))

    def wake(self, now_ms: int) -> None:
        self._keep(wake(self.progress, watermark_ms=WATERMARK_MS, now_ms=now_ms, store=self.store))

    def closed_at(self) -> list[int]:
        return [closed.key.start_ms - START_MS for closed in self.closed]

    def _keep(self, step: Step) -> None:
        self.state = step.progress.encode()
        self.closed += step.closed
        self.late += step.late
        assert set(self.store) == set(step.progress.open), "the store holds the open windows and no others"


def parts_of(messages: Iterable[Message]) -> list[Part]:
    rows = fold_batch(arrow_of(messages), catalogue(), NOW_MS).to_pylist()
    return [part_of(SimpleNamespace(**row)) for row in rows if row["summary"]]


def reports(closed: Iterable[Closed]) -> list[dict[str, Any]]:
    monitor = catalogue().monitors["doors"]
    return [
        judge(
            monitor=monitor, profile=profile(), version=c.key.version, window=c.key.window, summary=c.summary
        ).to_document()
        for c in closed
    ]


def same(left: Any, right: Any) -> bool:
    """Exactly, but for floating-point numbers, which are sums in another order."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)
    return bool(left == right)


TRAFFIC = traffic(12, per_second=6)
END = heartbeat(20_000)


def offline() -> list[dict[str, Any]]:
    """TRAFFIC judged by the kernel alone, in windows cut by hand."""
    closed = []
    for start in (0, 5_000, 10_000):
        key = window_key(start)
        inside = [m for m in TRAFFIC if isinstance(m, InferenceRecord) and key.start_ms <= m.time_ms < key.end_ms]
        beats = [m for m in TRAFFIC if isinstance(m, Heartbeat) and key.start_ms <= m.time_ms <= key.end_ms]
        closed.append(Closed(key, summarise(inside, beats, profile())))
    return reports(closed)


@given(
    delays_ms=st.lists(st.integers(0, WATERMARK_MS), min_size=len(TRAFFIC), max_size=len(TRAFFIC)),
    cuts=st.sets(st.integers(1, len(TRAFFIC) - 1), max_size=6),
)
def test_any_order_within_the_watermark_and_any_cut_into_batches_gives_the_reports_of_the_kernel(
    delays_ms: list[int], cuts: set[int]
) -> None:
    arrivals = sorted(zip(TRAFFIC, delays_ms, strict=True), key=lambda pair: pair[0].time_ms + pair[1])
    arrived = [message for message, _ in arrivals]
    stream = Stream()
    bounds = [0, *sorted(cuts), len(arrived)]
    for begin, end in itertools.pairwise(bounds):
        stream.take(arrived[begin:end])
    stream.take([END])
    assert not stream.late
    assert same(reports(stream.closed), offline())


@given(st.permutations(range(len(TRAFFIC))))
def test_within_one_batch_no_order_makes_a_row_late(order: list[int]) -> None:
    stream = Stream()
    stream.take([END, *(TRAFFIC[position] for position in order)])
    assert same(reports(stream.closed), offline())


def test_a_window_closes_when_event_time_passes_its_end_by_the_watermark() -> None:
    stream = Stream()
    stream.take([record(4_000)])
    stream.take([record(6_999)])
    assert stream.closed_at() == []
    stream.take([record(7_000)])
    assert stream.closed_at() == [0]


def test_a_late_record_is_counted_not_folded() -> None:
    stream = Stream()
    stream.take([record(1_000), record(7_000)])
    stream.take([record(2_000), record(3_000), record(8_000)])
    stream.take([record(4_000)])
    assert stream.late == [Late(window_key(0), 2), Late(window_key(0), 1)]
    assert stream.progress.late_records == 3
    assert [closed.summary.requests.requests for closed in stream.closed] == [1]


def test_a_late_heartbeat_is_no_late_request() -> None:
    stream = Stream()
    stream.take([record(1_000), record(7_000)])
    stream.take([heartbeat(2_000)])
    assert stream.late == []
    assert stream.progress.late_records == 0


def test_a_heartbeat_releases_the_last_window() -> None:
    stream = Stream()
    stream.take([record(1_000)])
    stream.take([heartbeat(6_000)])
    assert stream.closed_at() == []
    stream.take([heartbeat(7_000)])
    assert stream.closed_at() == [0]


def test_a_heartbeat_on_its_end_alone_does_not_open_a_window() -> None:
    stream = Stream()
    stream.take([heartbeat(5_000, seq=0), record(5_500), heartbeat(12_000, seq=1)])
    assert stream.closed_at() == [5_000]


def test_a_window_without_requests_is_reported_while_the_transformer_lives() -> None:
    stream = Stream()
    stream.take([heartbeat(second * 1_000, seq=7) for second in range(8)])
    (closed,) = stream.closed
    assert reports([closed])[0]["completeness"] == {"seen": 0, "served": 0, "share": 1.0}


def test_windows_close_earliest_first() -> None:
    stream = Stream()
    stream.take([record(11_000), record(1_000), record(6_000), record(60_000)])
    assert stream.closed_at() == [0, 5_000, 10_000]


class TestSilence:
    @staticmethod
    def silent(for_ms: int) -> Stream:
        """One record at 1 s, then nothing for so long, with all looks at it on time."""
        stream = Stream()
        stream.take([record(1_000)])
        for now_ms in range(NOW_MS + CHECK_MS, NOW_MS + for_ms + 1, CHECK_MS):
            stream.wake(now_ms)
        return stream

    def test_closes_a_window_when_its_end_the_watermark_and_the_grace_have_passed(self) -> None:
        due_ms = 4_000 + WATERMARK_MS + SILENCE_MS
        assert self.silent(due_ms - CHECK_MS).closed_at() == []
        assert self.silent(due_ms).closed_at() == [0]

    def test_is_over_with_the_next_message(self) -> None:
        stream = self.silent(10_000)
        stream.take([heartbeat(2_000)], now_ms=NOW_MS + 10_000)
        stream.wake(NOW_MS + 11_000)
        assert stream.closed_at() == []

    def test_makes_what_comes_after_it_late(self) -> None:
        stream = self.silent(11_000)
        stream.take([record(3_000)], now_ms=NOW_MS + 11_000)
        assert stream.late == [Late(window_key(0), 1)]

    def test_does_not_count_the_time_in_which_nobody_listened(self) -> None:
        stream = Stream()
        stream.take([record(1_000)])
        stream.wake(NOW_MS + 3_600_000)
        assert stream.closed_at() == []
        assert stream.progress.silent_ms == MAXIMUM_CREDIT_MS

    def test_takes_no_notice_of_a_clock_that_goes_back(self) -> None:
        stream = Stream()
        stream.take([record(1_000)])
        stream.wake(NOW_MS - 60_000)
        assert stream.progress.silent_ms == 0

    def test_is_looked_at_only_while_a_window_is_open(self) -> None:
        stream = Stream()
        stream.take([record(1_000)])
        assert stream.progress.wake_ms == NOW_MS + CHECK_MS
        stream.take([record(2_000)], now_ms=NOW_MS + 500)
        assert stream.progress.wake_ms == NOW_MS + CHECK_MS, "one look is due, not two"
        for now_ms in range(NOW_MS + CHECK_MS, NOW_MS + 20_000, CHECK_MS):
            stream.wake(now_ms)
        assert stream.closed_at() == [0]
        assert stream.progress.wake_ms is None


def test_the_state_survives_its_bytes() -> None:
    progress = Progress(
        latest_ms=5,
        closed_until_ms=3,
        silent_ms=2,
        checked_ms=7,
        late_records=1,
        open={window_key(0): 4},
        wake_ms=9,
    )
    assert Progress.decode(progress.encode()) == progress


def test_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 0"):
        Progress.decode(Progress().encode().replace(b'"v":1', b'"v":0'))


def test_windows_of_two_versions_close_together() -> None:
    stream = Stream()
    stream.take([record(0, version="1"), record(0, version="2"), record(7_000, version="2")])
    assert [closed.key.version for closed in stream.closed] == ["1", "2"]


def test_summaries_are_merged_over_batches() -> None:
    stream = Stream()
    for at_ms in (0, 1_000, 2_000, 7_000):
        stream.take([record(at_ms)])
    (closed,) = stream.closed
    assert isinstance(closed.summary, WindowSummary)
    assert closed.summary.requests.requests == 3


def test_a_step_changes_nothing_that_it_was_given() -> None:
    before = Progress(open={})
    take(before, parts_of([record(0)]), watermark_ms=WATERMARK_MS, now_ms=NOW_MS, store=Shelf())
    assert before == replace(before)
    assert before.open == {}
