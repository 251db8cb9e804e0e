from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import fold
from aggregator.fold import fold_batch
from aggregator.progress import Held, Place, Progress, Source, WindowKey, Worker
from aggregator.windows import (
    CHECK_MS,
    CORRECTION_MS,
    HOLD_MS,
    KEPT_CHECK_MS,
    LIVE_MS,
    REST_MS,
    SILENCE_MS,
    Closed,
    Late,
    Part,
    Step,
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
from tidegauge.monitor import Windows
from tidegauge.records import Heartbeat, InferenceRecord
from tidegauge.summaries.served_account import Completeness
from tidegauge.summaries.window_summary import WindowSummary, summarise
from tidegauge.verdict import judge


class Shelf(dict[WindowKey, bytes]):
    """aggregator.windows.Store that holds its user to the contract: no key is asked for that is not there."""

    settled: Mapping[WindowKey, bool] = MappingProxyType({})

    def get(self, key: WindowKey) -> bytes:  # type: ignore[override]
        return self[key]

    def put(self, key: WindowKey, summary: bytes, *, settled: bool) -> Place:
        self[key] = summary
        self.settled = {**self.settled, key: settled}
        return Place(1, len(self))

    def remove(self, key: WindowKey) -> None:
        del self[key]


RULES = catalogue().monitors["doors"].windows


class Stream:
    """One monitor's windows over several micro-batches, its state carried as bytes as Spark carries it."""

    def __init__(self, rules: Windows = RULES) -> None:
        self.rules = rules
        self.store = Shelf()
        self.state = Progress().encode()
        self.closed: list[Closed] = []
        self.late: list[Late] = []
        self.now_ms = NOW_MS

    @property
    def progress(self) -> Progress:
        return Progress.decode(self.state)

    def take(self, *partitions: Iterable[Message], now_ms: int = NOW_MS) -> None:
        parts = [part for at, messages in enumerate(partitions) for part in parts_of(messages, partition=at)]
        self.now_ms = now_ms
        self._keep(take(self.progress, parts, rules=self.rules, now_ms=now_ms, store=self.store))

    def wake(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._keep(wake(self.progress, rules=self.rules, now_ms=now_ms, store=self.store))

    def wait(self, for_ms: int) -> None:
        """All looks at the clock are on time."""
        until_ms = self.now_ms + for_ms
        while (due_ms := self.progress.wake_ms) is not None and due_ms <= until_ms:
            self.wake(due_ms)
        self.now_ms = until_ms

    def closed_at(self) -> list[int]:
        return [closed.key.start_ms - START_MS for closed in self.closed]

    def told(self) -> list[tuple[int, int, int, float | None]]:
        """(start, revision, requests, share) of each report."""
        return [
            (
                closed.key.start_ms - START_MS,
                closed.revision,
                closed.summary.requests.requests,
                closed.summary.account.completeness(closed.key.window).share,
            )
            for closed in self.closed
        ]

    def _keep(self, step: Step) -> None:
        self.state = step.progress.encode()
        self.closed += step.closed
        self.late += step.late
        assert set(self.store) == set(step.progress.windows), "the store holds what may still be reported and no more"
        sizes = {key: held.size_bytes for key, held in step.progress.windows.items()}
        assert sizes == {key: len(summary) for key, summary in self.store.items()}
        assert all(held.settled == self.store.settled[key] for key, held in step.progress.windows.items())


def parts_of(messages: Iterable[Message], *, partition: int = 0) -> list[Part]:
    return parts_in(fold_batch(arrow_of(messages, partition=partition), catalogue(), NOW_MS))


def parts_in(folded: pa.RecordBatch) -> list[Part]:
    frame = folded.to_pandas()
    return [part for _, part in fold.parts_of(frame[frame["summary"].notna()])]


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
        closed.append(Closed(key, summarise(inside, beats, profile(), catalogue().monitors["doors"].statistics)))
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


def test_a_record_later_than_the_lateness_is_counted_not_folded() -> None:
    stream = Stream()
    stream.take([record(1_000), record(17_000)])
    stream.take([record(2_000), record(3_000), record(18_000)])
    stream.take([record(4_000)])
    stream.wait(60_000)
    assert stream.late == [Late(window_key(0), 2), Late(window_key(0), 1)]
    assert stream.progress.late_records == 3
    assert stream.told()[0][:3] == (0, 0, 1)
    assert stream.closed_at().count(0) == 1


def test_a_late_heartbeat_is_no_late_request() -> None:
    stream = Stream()
    stream.take([record(1_000), record(17_000)])
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
    assert closed.summary.account.completeness(closed.key.window) == Completeness(0, 0)


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
        stream.wait(for_ms)
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

    def test_makes_what_comes_after_it_a_correction(self) -> None:
        stream = self.silent(11_000)
        stream.take([record(3_000)], now_ms=NOW_MS + 11_000)
        stream.wait(CORRECTION_MS)
        assert [(start, revision, requests) for start, revision, requests, _ in stream.told()] == [(0, 0, 1), (0, 1, 2)]

    def test_does_not_count_the_time_in_which_nobody_listened(self) -> None:
        stream = Stream()
        stream.take([record(1_000)])
        stream.wake(NOW_MS + 3_600_000)
        assert stream.closed_at() == []
        assert stream.progress.silent_ms == 2 * CHECK_MS

    def test_takes_no_notice_of_a_clock_that_goes_back(self) -> None:
        stream = Stream()
        stream.take([record(1_000)])
        stream.wake(NOW_MS - 60_000)
        assert stream.progress.silent_ms == 0

    def test_is_looked_at_as_often_as_something_may_come_of_it(self) -> None:
        stream = Stream()
        stream.take([record(1_000)])
        assert stream.progress.wake_ms == NOW_MS + CHECK_MS
        stream.take([record(2_000)], now_ms=NOW_MS + 500)
        assert stream.progress.wake_ms == NOW_MS + CHECK_MS, "one look is due, not two"
        stream.wait(10_500)
        assert stream.closed_at() == [0]
        assert stream.progress.wake_ms == stream.now_ms + KEPT_CHECK_MS, "the closed window may be corrected"
        stream.wait(60_000)
        assert not stream.store
        assert stream.progress.wake_ms is not None
        assert stream.progress.wake_ms > stream.now_ms + REST_MS - 60_000

    def test_is_not_looked_at_before_it_is_time(self) -> None:
        stream = Stream()
        stream.take([record(1_000)])
        before = stream.progress
        stream.wake(NOW_MS + CHECK_MS - 1)
        assert stream.progress == before


class TestCorrection:
    def test_is_one_report_on_all_that_came_late_within_some_seconds(self) -> None:
        stream = Stream()
        stream.take([record(1_000), record(7_000)])
        stream.take([record(2_000)])
        stream.take([record(3_000)], now_ms=NOW_MS + 1_000)
        assert stream.closed_at() == [0]
        stream.wait(CORRECTION_MS - 1_000)
        assert [(start, revision, requests) for start, revision, requests, _ in stream.told()] == [(0, 0, 1), (0, 1, 3)]
        assert stream.late == []

    def test_can_follow_another(self) -> None:
        stream = Stream()
        stream.take([record(1_000), record(7_000)])
        for at_ms in (2_000, 3_000):
            stream.take([record(at_ms)], now_ms=stream.now_ms)
            stream.wait(CORRECTION_MS)
        assert [(revision, requests) for _, revision, requests, _ in stream.told()] == [(0, 1), (1, 2), (2, 3)]

    def test_is_made_at_once_when_the_lateness_passes(self) -> None:
        stream = Stream()
        stream.take([record(1_000), record(7_000)])
        stream.take([record(2_000)])
        stream.take([record(17_000)])
        assert [(start, revision, requests) for start, revision, requests, _ in stream.told()] == [
            (0, 0, 1),
            (0, 1, 2),
            (5_000, 0, 1),
        ]

    def test_of_a_window_that_nobody_knew_of_is_its_first_report(self) -> None:
        stream = Stream()
        stream.take([record(8_000)])
        stream.take([record(13_000)])
        stream.take([record(2_000)])
        stream.wait(CORRECTION_MS)
        assert sorted(stream.told())[0][:3] == (0, 0, 1)

    def test_is_not_made_for_a_heartbeat_alone(self) -> None:
        stream = Stream()
        stream.take([record(1_000), record(7_000)])
        stream.take([heartbeat(2_000)])
        stream.wait(CORRECTION_MS)
        assert stream.closed_at() == [0]

    def test_is_not_made_for_what_is_known(self) -> None:
        stream = Stream()
        stream.take([record(1_000), record(2_000), record(7_000)])
        stream.take([record(2_000), record(1_000)])
        stream.wait(CORRECTION_MS)
        assert stream.closed_at()[:1] == [0]
        assert stream.closed_at().count(0) == 1

    def test_makes_the_window_of_a_worker_whole_whose_spool_comes_later(self) -> None:
        """An old incarnation with old numbers: what its heartbeats told of in time, its records now prove."""
        messages = traffic(12)
        spooled = [m for m in messages if isinstance(m, InferenceRecord) and m.seq % 4 == 0]
        stream = Stream()
        stream.take([*(m for m in messages if m not in spooled), heartbeat(14_000, incarnation="i-2", seq=0)])
        stream.take(spooled[:20])
        stream.take(spooled[20:])
        stream.wait(CORRECTION_MS)
        assert stream.told()[:2] == [(0, 0, 75, 0.75), (5_000, 0, 75, 0.75)]
        assert (0, 1, 100, 1.0) in stream.told()
        assert (5_000, 1, 100, 1.0) in stream.told()

    @given(st.sets(st.integers(0, len(TRAFFIC) - 1)), st.integers(1, 5))
    def test_ends_with_the_reports_of_all_in_time(self, delayed: set[int], pieces: int) -> None:
        stream = Stream(replace(RULES, lateness_ms=60_000))
        stream.take([*(m for at, m in enumerate(TRAFFIC) if at not in delayed), END])
        late = [TRAFFIC[at] for at in sorted(delayed)]
        for piece in range(pieces):
            stream.take(late[piece::pieces], now_ms=stream.now_ms + 1)
        stream.wait(CORRECTION_MS)
        last = {closed.key: closed for closed in stream.closed}
        # Heartbeats alone correct nothing, so an account may be known too late to be told.
        told = [one | {"completeness": None, "account": None} for one in reports(last[key] for key in sorted(last))]
        expected = [one | {"completeness": None, "account": None} for one in offline()]
        wanted = [one for one in expected if one["window"]["start_ms"] in {key.start_ms for key in last}]
        assert same([one | {"revision": 0} for one in told], wanted)
        assert sum(one["requests"] for one in told) == sum(one["requests"] for one in expected)


class TestPartitions:
    """Each partition of a topic is read at its own pace."""

    def test_one_that_runs_ahead_does_not_close_windows_of_another(self) -> None:
        stream = Stream()
        stream.take([record(1_000)], [record(1_100)])
        stream.take([record(60_000)], [record(4_000)])
        assert stream.closed_at() == []
        stream.take([record(60_001)], [record(7_000)])
        assert stream.closed_at() == [0]

    @given(st.data())
    def test_whatever_the_share_of_each_in_a_micro_batch_no_row_is_late(self, data: st.DataObject) -> None:
        """As Spark's bound deals them out: something of every partition that has a backlog."""
        left = [[m for at, m in enumerate(TRAFFIC) if at % 3 == partition] for partition in range(3)]
        stream = Stream()
        while any(left):
            taken = [data.draw(st.integers(1, len(queue))) if queue else 0 for queue in left]
            stream.take(*(queue[:count] for queue, count in zip(left, taken, strict=True)))
            left = [queue[count:] for queue, count in zip(left, taken, strict=True)]
        stream.take([END], now_ms=NOW_MS + HOLD_MS)
        assert not stream.late
        assert {closed.revision for closed in stream.closed} == {0}
        assert same(reports(stream.closed), offline())

    def test_one_that_was_read_to_its_end_holds_nothing_back(self) -> None:
        stream = Stream()
        now_ms = START_MS + 1_500
        stream.take([record(1_000)], [record(1_100)], now_ms=now_ms)
        stream.take([heartbeat(7_000)], now_ms=now_ms + 5_900)
        assert stream.closed_at() == [0]

    def test_one_that_was_behind_holds_event_time_back_for_a_while(self) -> None:
        """Its share of a micro-batch may be records of other monitors alone."""
        stream = Stream()
        stream.take([record(1_000)], [record(1_100)])
        stream.take([heartbeat(7_000)], now_ms=NOW_MS + HOLD_MS - 1)
        assert stream.closed_at() == []
        stream.take([heartbeat(7_001)], now_ms=NOW_MS + HOLD_MS)
        assert stream.closed_at() == [0]

    def test_a_new_one_with_old_records_takes_nothing_back(self) -> None:
        stream = Stream()
        stream.take([record(1_000), record(8_000)])
        before = stream.progress.closed_until_ms
        stream.take([], [record(2_000)])
        assert stream.progress.closed_until_ms == before


class TestUnderWay:
    @staticmethod
    def shown(rules: Windows, *takes: tuple[list[Message], int]) -> list[list[tuple[int, int]]]:
        """(start, requests) of the windows under way in each step; takes: what came, and when."""
        stream = Stream(rules)
        found = []
        for messages, at_ms in takes:
            parts = parts_of(messages)
            step = take(stream.progress, parts, rules=rules, now_ms=START_MS + at_ms, store=stream.store)
            stream._keep(step)
            found.append([(one.key.start_ms - START_MS, one.summary.requests.requests) for one in step.under_way])
        return found

    def test_the_window_that_event_time_is_in_is_shown_now_and_then(self) -> None:
        every = RULES.provisional_ms
        assert self.shown(
            RULES,
            ([record(1_000)], 0),
            ([record(2_000)], every - 1),
            ([record(3_000)], every),
            ([record(5_500)], 2 * every),
        ) == [[(0, 1)], [], [(0, 3)], [(5_000, 1)]]

    def test_of_overlapping_windows_the_fullest_is_shown(self) -> None:
        rules = replace(RULES, duration_ms=10_000, slide_ms=5_000)
        monitors = {"doors": replace(catalogue().monitors["doors"], windows=rules)}
        parts = parts_in(fold_batch(arrow_of([record(1_000)]), replace(catalogue(), monitors=monitors), NOW_MS))
        step = take(Progress(), parts, rules=rules, now_ms=START_MS, store=Shelf())
        assert [one.key.start_ms - START_MS for one in step.under_way] == [-5_000]

    def test_nothing_is_shown_while_a_monitor_catches_up(self) -> None:
        assert self.shown(RULES, ([record(1_000)], 1_000 + LIVE_MS)) == [[(0, 1)]]
        assert self.shown(RULES, ([record(1_000)], 1_001 + LIVE_MS)) == [[]]

    def test_nothing_is_shown_where_nobody_wants_it_or_nothing_came(self) -> None:
        assert self.shown(replace(RULES, provisional_ms=0), ([record(1_000)], 0)) == [[]]
        assert self.shown(RULES, ([heartbeat(1_000)], 0)) == [[]]


class TestWorkers:
    @staticmethod
    def beats(second: int, until: int, incarnation: str = "i-1", seq: int = 0) -> list[Message]:
        return [heartbeat(at * 1_000, seq=seq, incarnation=incarnation) for at in range(second, until)]

    def test_one_that_vanished_leaves_later_windows_unknown_until_the_lateness_has_passed(self) -> None:
        stream = Stream()
        stream.take([*self.beats(0, 40), *self.beats(0, 7, "i-2")])
        shares = {start: share for start, _, _, share in stream.told()}
        # Its last word was at 6 s: up to 16 s it may come back and tell.
        assert shares == {0: 1.0, 5_000: None, 10_000: None, 15_000: None} | dict.fromkeys(
            range(20_000, 35_000, 5_000), 1.0
        )

    def test_one_that_ended_in_good_order_does_not(self) -> None:
        stream = Stream()
        stream.take(
            [*self.beats(0, 20), *self.beats(0, 7, "i-2"), heartbeat(6_500, incarnation="i-2", seq=0, final=True)]
        )
        assert {share for _, _, _, share in stream.told()} == {1.0}

    def test_one_that_comes_back_leaves_unknown_what_it_did_not_tell_of(self) -> None:
        stream = Stream()
        stream.take([*self.beats(0, 30), *self.beats(0, 6, "i-2"), *self.beats(15, 30, "i-2", seq=3)])
        shares = {start: share for start, _, _, share in stream.told()}
        assert shares == {0: 1.0, 5_000: None, 10_000: None, 15_000: 1.0, 20_000: 1.0}

    def test_answers_that_name_another_version_than_the_monitor_are_accounted_for(self) -> None:
        """Heartbeats have the monitor's version, records that of the predictor's answer."""
        answered = [replace(m, version="2026-01") if isinstance(m, InferenceRecord) else m for m in traffic(12)]
        stream = Stream()
        stream.take([*answered, END])
        assert {closed.key.version for closed in stream.closed} == {"2026-01"}
        assert stream.told() == [(0, 0, 100, 1.0), (5_000, 0, 100, 1.0), (10_000, 0, 40, 1.0)]

    def test_versions_share_one_account(self) -> None:
        """What is lost has no version: the share is that of the monitor's traffic."""
        messages = [replace(m, version="12"[m.seq % 2]) if isinstance(m, InferenceRecord) else m for m in traffic(5)]
        stream = Stream()
        stream.take([*(m for m in messages if getattr(m, "id", "") != "1"), END])
        versions = [closed.key.version for closed in stream.closed]
        assert list(zip(versions, stream.told(), strict=True))[:2] == [("1", (0, 0, 50, 0.99)), ("2", (0, 0, 49, 0.99))]

    def test_only_so_many_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("aggregator.windows.MAXIMUM_WORKERS", 2)
        stream = Stream()
        stream.take([heartbeat(at, incarnation=f"i-{at}") for at in (1_000, 3_000, 2_000)])
        assert sorted(stream.progress.workers) == ["pod-a/i-2000", "pod-a/i-3000"]


def test_sliding_windows_hold_each_record_as_often_as_they_overlap() -> None:
    rules = replace(RULES, duration_ms=10_000, slide_ms=5_000)
    messages = [m for m in traffic(20) if isinstance(m, InferenceRecord)]
    sliding = {"doors": replace(catalogue().monitors["doors"], windows=rules)}
    known = replace(catalogue(), monitors=sliding)
    parts = parts_in(fold_batch(arrow_of([*traffic(20), heartbeat(40_000)]), known, NOW_MS))
    step = take(Progress(), parts, rules=rules, now_ms=NOW_MS, store=Shelf())
    counted = {closed.key.start_ms - START_MS: closed.summary.requests.requests for closed in step.closed}
    assert counted == {
        start: sum(start <= m.time_ms - START_MS < start + 10_000 for m in messages)
        for start in range(-5_000, 25_000, 5_000)
    }
    shares = [closed.summary.account.completeness(closed.key.window).share for closed in step.closed]
    assert shares == [1.0] * 6


def test_the_state_survives_its_bytes() -> None:
    progress = Progress(
        latest_ms=5,
        closed_until_ms=3,
        silent_ms=2,
        checked_ms=7,
        late_records=1,
        windows={
            window_key(0): Held(4, 3, 100, closed=True, revision=1, due_ms=8, place=Place(3, 1)),
            window_key(5_000, "2"): Held(1, 1, 50),
        },
        sources={"tidegauge.inference/0": Source(5, 7)},
        workers={"pod-a/i-1": Worker(1, 5, ended=True)},
        wake_ms=9,
    )
    assert Progress.decode(progress.encode()) == progress


def test_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 0"):
        Progress.decode(Progress().encode().replace(b'"v":3', b'"v":0'))


def test_windows_of_two_versions_close_together() -> None:
    stream = Stream()
    stream.take([record(0, version="1"), record(1, version="2"), record(7_000, version="2")])
    assert [closed.key.version for closed in stream.closed] == ["1", "2"]


def test_summaries_are_merged_over_batches() -> None:
    stream = Stream()
    for at_ms in (0, 1_000, 2_000, 7_000):
        stream.take([record(at_ms)])
    (closed,) = stream.closed
    assert isinstance(closed.summary, WindowSummary)
    assert closed.summary.requests.requests == 3


def test_a_step_changes_nothing_that_it_was_given() -> None:
    before = Progress()
    take(before, parts_of([record(0)]), rules=RULES, now_ms=NOW_MS, store=Shelf())
    assert before == Progress()
