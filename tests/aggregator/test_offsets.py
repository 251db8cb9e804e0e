"""What a micro-batch reads of what waits."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aggregator.offsets import SLICE_MESSAGES, Offsets, Stretch, bounded, dealt, gone_back, missing, stretches, together

WAITING = st.dictionaries(
    st.sampled_from(["a", "b"]), st.dictionaries(st.sampled_from(["0", "1", "2"]), st.integers(0, 10_000)), min_size=1
)


def begun(latest: Offsets) -> Offsets:
    """Something between nothing and all of it, the same for the same end."""
    return {
        topic: {at: last * (len(at + topic) % 3) // 3 for at, last in ends.items()} for topic, ends in latest.items()
    }


def size(start: Offsets, end: Offsets) -> int:
    return sum(stretch.end - stretch.start for stretch in stretches(start, end))


@given(WAITING, st.integers(1, 5_000))
def test_a_bounded_batch_is_as_large_as_asked_or_a_few_messages_more(latest: Offsets, maximum: int) -> None:
    start = begun(latest)
    partitions = sum(map(len, latest.values()))
    end = bounded(start, latest, maximum)
    waiting = size(start, latest)
    assert min(waiting, maximum) <= size(start, end) <= min(waiting, maximum + partitions)


@given(WAITING, st.integers(1, 5_000))
def test_every_partition_with_messages_goes_on_and_none_beyond_its_end(latest: Offsets, maximum: int) -> None:
    start = begun(latest)
    end = bounded(start, latest, maximum)
    for topic, ends in latest.items():
        for at, last in ends.items():
            assert start[topic][at] <= end[topic][at] <= last
            assert (end[topic][at] > start[topic][at]) == (last > start[topic][at])


def test_a_partition_with_more_that_waits_gets_more() -> None:
    assert bounded({"a": {"0": 0, "1": 100}}, {"a": {"0": 900, "1": 200}}, 100) == {"a": {"0": 90, "1": 110}}


def test_stretches_are_those_with_messages() -> None:
    assert stretches({"a": {"0": 3, "1": 5}}, {"a": {"0": 7, "1": 5}}) == [Stretch("a", 0, 3, 7)]
    assert str(Stretch("a", 0, 3, 7)) == "a/0"


def test_later_offsets_take_the_place_of_earlier_ones_and_the_rest_stays() -> None:
    assert together({"a": {"0": 1}, "b": {"0": 2}}, {"a": {"0": 4, "1": 5}}) == {"a": {"0": 4, "1": 5}, "b": {"0": 2}}


def test_new_partitions_are_named() -> None:
    assert missing({"a": {"0": 1, "1": 1}, "b": {"0": 1}}, {"a": {"0": 1}}) == [("a", "1"), ("b", "0")]


def test_a_partition_that_is_shorter_than_what_was_read_is_named() -> None:
    assert gone_back({"a": {"0": 5, "1": 5}}, {"a": {"0": 4, "1": 5, "2": 0}}) == ["a/0"]


LENGTHS = st.lists(st.integers(1, 40_000), min_size=1, max_size=12)


@given(LENGTHS, st.integers(1, 5))
def test_every_message_is_dealt_to_one_task(lengths: list[int], tasks: int) -> None:
    waiting = [Stretch("a", at, 10, 10 + length) for at, length in enumerate(lengths)]
    pieces = sorted(piece for hand in dealt(waiting, tasks) for piece in hand)
    assert [stretch for stretch in waiting for _ in range(stretch.messages)] == [
        waiting[piece.partition] for piece in pieces for _ in range(piece.messages)
    ]
    for earlier, later in pairwise(pieces):
        assert later.start == (earlier.end if later.partition == earlier.partition else 10)


@given(LENGTHS, st.integers(1, 5))
def test_tasks_get_as_many_messages_but_for_what_is_not_worth_a_cut(lengths: list[int], tasks: int) -> None:
    waiting = [Stretch("a", at, 10, 10 + length) for at, length in enumerate(lengths)]
    hands = dealt(waiting, tasks)
    assert len(hands) <= max(1, min(tasks, sum(lengths) // SLICE_MESSAGES))
    loads = [sum(piece.messages for piece in hand) for hand in hands]
    longest = max(piece.messages for hand in hands for piece in hand)
    assert max(loads) <= sum(lengths) / len(hands) + longest


def test_each_task_reads_of_all_partitions_what_is_of_one_time() -> None:
    waiting = [Stretch("a", 0, 100, 20_100), Stretch("a", 1, 0, 40_000)]
    assert dealt(waiting, 2) == [
        [Stretch("a", 0, 100, 10_100), Stretch("a", 1, 0, 20_000)],
        [Stretch("a", 0, 10_100, 20_100), Stretch("a", 1, 20_000, 40_000)],
    ]
    assert dealt(waiting, 1) == [waiting]


def test_few_messages_are_read_by_one_task() -> None:
    waiting = [Stretch("a", at, 0, 100) for at in range(4)]
    assert dealt(waiting, 8) == [waiting]
    assert dealt([], 8) == []
