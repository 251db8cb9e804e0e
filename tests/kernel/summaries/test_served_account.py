"""Completeness: exact between heartbeats, a gap is a loss, and what nobody accounts for is never called whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from tests.support.examples import make_heartbeat, make_record, mixed_profile
from tidegauge.monitor import Windows
from tidegauge.records import Account, Heartbeat, InferenceRecord
from tidegauge.summaries.gathered_records import GatheredRecords
from tidegauge.summaries.served_account import Completeness, Incarnation, ServedAccount
from tidegauge.summaries.window_rows import WindowRows
from tidegauge.windows import Window, windows_bounded_by, windows_of

PROFILE = mixed_profile()
START = 1_700_000_000_000
WINDOW = Window(START, START + 5000)
UNKNOWN_WITH = {seen: Completeness(seen, None, unaccounted=1) for seen in range(20)}


def records(count: int, incarnation: str = "i-1") -> list[InferenceRecord]:
    return [make_record(incarnation=incarnation, seq=number + 1) for number in range(count)]


def beat(second: float, seq: int, incarnation: str = "i-1", *, final: bool = False) -> Heartbeat:
    return make_heartbeat(time_ms=START + int(1000 * second), seq=seq, incarnation=incarnation, final=final)


def rows(seen: list[InferenceRecord], beats: list[Heartbeat]) -> WindowRows:
    return WindowRows.of(GatheredRecords.of(seen, PROFILE), beats, PROFILE)


def completeness(seen: list[InferenceRecord], beats: list[Heartbeat]) -> Completeness:
    return ServedAccount.of(rows(seen, beats)).completeness(WINDOW)


def test_between_two_heartbeats_on_the_windows_ends_the_account_is_exact() -> None:
    assert completeness(records(7), [beat(0, 100), beat(5, 107)]) == Completeness(7, 7)
    assert Completeness(7, 7).share == 1.0


def test_heartbeats_in_between_change_nothing_in_any_order() -> None:
    beats = [beat(0, 100), beat(1, 103), beat(3, 103), beat(5, 107)]
    assert {completeness(records(7), list(order)) for order in permutations(beats)} == {Completeness(7, 7)}


def test_a_gap_is_a_loss() -> None:
    result = completeness(records(6), [beat(0, 100), beat(5, 108)])
    assert result == Completeness(6, 8)
    assert result.share == 0.75


def test_all_lost_is_a_share_of_zero() -> None:
    assert completeness([], [beat(0, 0), beat(5, 9)]).share == 0.0


def test_an_idle_worker_is_whole() -> None:
    result = completeness([], [beat(0, 100), beat(5, 100)])
    assert result == Completeness(0, 0)
    assert result.share == 1.0


def test_a_worker_that_began_in_the_window_needs_no_heartbeat_at_its_start() -> None:
    assert completeness(records(4), [beat(2, 0), beat(3, 1), beat(5, 4)]) == Completeness(4, 4)


def test_a_worker_that_stopped_in_good_order_needs_no_heartbeat_at_the_end() -> None:
    assert completeness(records(4), [beat(0, 10), beat(2.345, 14, final=True)]) == Completeness(4, 4)


def test_a_worker_that_lived_within_the_window_is_accounted_for() -> None:
    assert completeness(records(3), [beat(1, 0), beat(2.5, 3, final=True)]) == Completeness(3, 3)


@pytest.mark.parametrize("seen", [0, 4, 7])
def test_a_worker_that_was_killed_leaves_the_window_unknown(seen: int) -> None:
    """kill -9 after second 3: what came after its last heartbeat nobody knows, even when the numbers agree."""
    result = completeness(records(seen), [beat(0, 0), beat(3, 4)])
    assert result == UNKNOWN_WITH[seen]
    assert result.share is None


def test_a_worker_whose_first_heartbeat_was_lost_leaves_the_window_unknown() -> None:
    assert completeness(records(4), [beat(2, 12), beat(5, 16)]) == UNKNOWN_WITH[4]


def test_records_without_any_heartbeat_leave_the_window_unknown() -> None:
    assert completeness(records(4), []) == UNKNOWN_WITH[4]


def test_a_window_nobody_spoke_for_is_unknown() -> None:
    assert completeness([], []) == Completeness(0, None)


def test_several_workers_add_up() -> None:
    seen = records(3, "i-1") + records(5, "i-2")
    beats = [beat(0, 10, "i-1"), beat(5, 13, "i-1"), beat(0, 0, "i-2"), beat(5, 6, "i-2")]
    assert completeness(seen, beats) == Completeness(8, 9)


def test_one_unknown_worker_makes_the_whole_unknown() -> None:
    seen = records(3, "i-1") + records(5, "i-2")
    beats = [beat(0, 10, "i-1"), beat(5, 13, "i-1"), beat(0, 0, "i-2"), beat(4, 5, "i-2")]
    assert completeness(seen, beats) == UNKNOWN_WITH[8]


def test_a_restart_within_the_window_is_two_workers_one_after_the_other() -> None:
    seen = records(2, "i-1") + records(3, "i-2")
    beats = [beat(0, 50, "i-1"), beat(1.5, 52, "i-1", final=True), beat(2, 0, "i-2"), beat(5, 3, "i-2")]
    assert completeness(seen, beats) == Completeness(5, 5)


def test_incarnations_of_two_replicas_with_one_name_are_told_apart() -> None:
    beats = [make_heartbeat(replica=replica, time_ms=START + t, seq=t) for replica in "ab" for t in (0, 5000)]
    account = ServedAccount.of(rows([], beats))
    assert set(account.incarnations) == {"a/i-1", "b/i-1"}
    assert account.completeness(WINDOW) == Completeness(0, 10_000)


def test_records_of_a_worker_that_says_it_served_none_are_no_whole() -> None:
    result = completeness(records(2), [beat(0, 100), beat(5, 100)])
    assert result == Completeness(2, 0)
    assert result.share is None


def test_records_nobody_served_show_as_more_than_whole() -> None:
    assert completeness(records(6), [beat(0, 0), beat(5, 4)]).share == 1.5


def test_a_record_that_comes_twice_is_seen_once() -> None:
    """In one part as in two."""
    whole = ServedAccount.of(rows([*records(4), *records(2)], [beat(0, 0), beat(5, 4)]))
    merged = ServedAccount.of(rows(records(2), [])).merge(ServedAccount.of(rows(records(4), [beat(0, 0), beat(5, 4)])))
    for account in (whole, merged):
        assert account.completeness(WINDOW) == Completeness(4, 4, duplicates=2)


def test_duplicates_left_out_of_a_summary_are_still_counted() -> None:
    account = ServedAccount.of(rows(records(4), [beat(0, 0), beat(5, 4)])).with_duplicates({"pod-a/i-1": 3})
    assert account.completeness(WINDOW) == Completeness(4, 4, duplicates=3)


def test_a_part_repeats_what_is_known_when_all_its_records_are() -> None:
    known = ServedAccount.of(rows(records(4), [beat(0, 0)]))
    assert known.repeats(ServedAccount.of(rows(records(3), [beat(1, 3)])))
    assert not known.repeats(ServedAccount.of(rows(records(5), [])))
    assert not known.repeats(ServedAccount.of(rows(records(3, "i-2"), [])))
    assert not known.repeats(ServedAccount.of(rows([], [beat(1, 3)]))), "no record, no repetition"
    assert not known.repeats(ServedAccount({"pod-a/i-1": Incarnation(records=1, unnumbered=1)}))


def test_what_was_sampled_out_counts_as_seen() -> None:
    beats = [
        replace(beat(second, seq), account=Account(served=seq, sampled_out=out))
        for second, seq, out in ((0, 100, 90), (5, 120, 108))
    ]
    result = completeness(records(2), beats)
    assert result == Completeness(2, 20, sampled_out=18)
    assert result.share == 1.0
    assert completeness(records(1), beats).share == 0.95


def test_a_heartbeat_that_knows_of_more_that_was_sampled_out_makes_no_more_than_whole() -> None:
    beats = [beat(0, 0), replace(beat(5, 4), account=Account(served=9, sampled_out=5))]
    assert completeness(records(2), beats).share == 1.0


def test_what_workers_kept_back_is_told() -> None:
    beats = [beat(0, 0), replace(beat(5, 9), account=Account(served=9, spooled=7))]
    assert completeness(records(2), beats) == Completeness(2, 9, spooled=7)


def test_a_worker_nothing_is_known_of_makes_the_window_unknown() -> None:
    account = ServedAccount.of(rows(records(4), [beat(0, 0), beat(5, 4)])).with_unknown(["pod-a/i-2"])
    assert account.completeness(WINDOW) == UNKNOWN_WITH[4]


@pytest.mark.parametrize("slide", [1000, 5000], ids=["overlapping", "tumbling"])
def test_a_life_of_a_worker_is_accounted_for_in_every_window(slide: int) -> None:
    """From its first heartbeat to its final one, whatever the windows: what was served is what was seen."""
    windows = Windows(duration_ms=5000, slide_ms=slide)
    arrivals = [START + 137 * number for number in range(200)]
    end = arrivals[-1] + 250
    beats = [
        make_heartbeat(time_ms=time_ms, seq=sum(arrival < time_ms for arrival in arrivals))
        for time_ms in range(START, end, 1000)
    ] + [make_heartbeat(time_ms=end, seq=200, final=True)]
    seen: dict[Window, int] = {}
    for arrival in arrivals:
        for window in windows_of(arrival, windows):
            seen[window] = seen.get(window, 0) + 1
    for window, count in seen.items():
        inside = [one for one in beats if window in windows_bounded_by(one.time_ms, windows)]
        account = ServedAccount.of(rows(records(count), inside))
        assert account.completeness(window) == Completeness(count, count)
