"""Halves joined by id: in any order, twice, too late, never, and more of them than there is room for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer.collector import pairs as pairs_module
from transformer.collector.events import Event
from transformer.collector.pairs import ENTRY_BYTES, Pair, Pairs, Taken

HOLD, WAIT = 1000, 5000


class Joined:
    """Drives Pairs as the collector does, and keeps what became of every request."""

    def __init__(self, **options: Any) -> None:
        defaults = {"wait_ms": WAIT, "max_pairs": 100, "max_bytes": 1 << 20}
        self.pairs = Pairs(**(defaults | options))
        self.now = 100_000
        self.numbered: list[tuple[str, int]] = []
        self.whole: list[str] = []
        self.unanswered: list[str] = []
        self.lost: dict[str, str] = {}

    def request(self, identity: str, body: bytes = b"?", at: int | None = None) -> Taken:
        return self._take(Event(identity, True, body), self.now if at is None else at)

    def response(self, identity: str, body: bytes = b"!") -> Taken:
        return self._take(Event(identity, False, body), self.now)

    def _take(self, event: Event, time_ms: int) -> Taken:
        taken, pair = self.pairs.take(event, time_ms=time_ms, now_ms=self.now)
        if pair is not None:
            self._end(pair)
        return taken

    def after(self, ms: int) -> Joined:
        self.now += ms
        for pair in self.pairs.released(self.now - HOLD):
            self.numbered.append((pair.id, pair.time_ms))
            pair.served = object()  # type: ignore[assignment]  # what it is matters to the collector only
            if pair.response is not None or not self.pairs.responses:
                self._end(pair)
        for pair in self.pairs.expired(self.now):
            self._end(pair)
        return self

    def _end(self, pair: Pair) -> None:
        self.pairs.conclude(pair)
        if pair.served is None:
            self.lost[pair.id] = pair.refused or "alone"
        elif pair.response is None:
            self.unanswered.append(pair.id)
        else:
            self.whole.append(pair.id)


def test_both_halves_make_one_whole_in_either_order() -> None:
    joined = Joined()
    joined.request("a")
    joined.response("a")
    joined.response("b")
    joined.request("b")
    assert joined.whole == [], "until their time has been released"
    assert joined.after(HOLD).whole == ["a", "b"]
    assert (len(joined.pairs), joined.pairs.bytes) == (0, 0)


def test_requests_are_released_in_the_order_of_their_times() -> None:
    joined = Joined()
    start = joined.now
    for identity, earlier in (("late", 0), ("early", 900), ("middle", 400)):
        joined.request(identity, at=start - earlier)
    joined.after(HOLD)
    assert joined.numbered == [("early", start - 900), ("middle", start - 400), ("late", start)]


def test_a_response_that_comes_after_the_release_concludes_at_once() -> None:
    joined = Joined()
    joined.request("a")
    joined.after(HOLD + 500)
    assert joined.response("a") is Taken.YES
    assert joined.whole == ["a"]


def test_a_request_without_a_response_is_concluded_when_its_time_is_over() -> None:
    joined = Joined()
    joined.request("a")
    assert joined.after(WAIT - 1).unanswered == []
    assert joined.after(1).unanswered == ["a"]
    assert joined.response("a") is Taken.LATE
    assert joined.request("a") is Taken.DUPLICATE


def test_a_response_without_a_request_is_lost_when_its_time_is_over() -> None:
    joined = Joined()
    joined.response("a")
    assert joined.after(WAIT).lost == {"a": "alone"}
    assert joined.request("a") is Taken.LATE
    assert joined.response("a") is Taken.DUPLICATE


def test_a_request_that_comes_long_after_its_response_still_has_its_whole_time() -> None:
    joined = Joined()
    joined.response("a")
    joined.after(WAIT - 1)
    joined.request("a")
    assert joined.after(HOLD).whole == ["a"]


def test_what_comes_twice_is_told_before_and_after_the_end() -> None:
    joined = Joined()
    joined.request("a")
    joined.response("a")
    assert joined.request("a", b"other") is Taken.DUPLICATE
    assert joined.response("a") is Taken.DUPLICATE
    joined.after(HOLD)
    assert [joined.request("a"), joined.response("a")] == [Taken.DUPLICATE] * 2
    assert joined.whole == ["a"]


def test_a_request_with_no_body_is_passed_over_and_so_is_its_response() -> None:
    joined = Joined()
    assert joined.request("a", b"") is Taken.EMPTY
    assert joined.response("a") is Taken.EMPTY
    joined.response("b")
    assert joined.request("b", b"") is Taken.EMPTY
    joined.after(WAIT)
    assert (joined.lost, joined.numbered, len(joined.pairs), joined.pairs.bytes) == ({}, [], 0, 0)


def test_where_no_responses_come_none_is_waited_for() -> None:
    joined = Joined(responses=False)
    joined.request("a")
    assert joined.after(HOLD).unanswered == ["a"]


@pytest.mark.parametrize("bound", [{"max_pairs": 2}, {"max_bytes": 2 * (ENTRY_BYTES + 10) + 5}])
def test_beyond_the_bound_nothing_new_is_taken_but_what_makes_room_is(bound: dict[str, int]) -> None:
    joined = Joined(**bound)
    for identity in "ab":
        assert joined.request(identity, b"x" * 10) is Taken.YES
    assert joined.request("c", b"x" * 10) is Taken.FULL
    assert joined.response("d", b"x" * 10) is Taken.FULL
    assert joined.response("a", b"x" * 10) is Taken.YES
    joined.after(HOLD)
    assert joined.request("c", b"x" * 10) is Taken.YES


def test_a_refused_request_is_lost_for_its_reason_unless_it_comes_again() -> None:
    joined = Joined()
    assert joined.pairs.refuse("a", "full", now_ms=joined.now)
    assert joined.pairs.refuse("b", "full", now_ms=joined.now)
    joined.response("b")
    joined.after(100)
    joined.request("b")
    joined.after(WAIT)
    assert (joined.lost, joined.whole) == ({"a": "full"}, ["b"])
    assert joined.request("a") is Taken.LATE


def test_a_refused_request_whose_response_came_first_is_lost_for_its_reason() -> None:
    joined = Joined()
    joined.response("a")
    assert joined.pairs.refuse("a", "full", now_ms=joined.now)
    assert joined.after(WAIT).lost == {"a": "full"}


def test_a_refused_request_that_cannot_be_remembered_is_lost_at_once_and_only_once() -> None:
    joined = Joined(max_pairs=1)
    joined.request("a")
    assert not joined.pairs.refuse("b", "full", now_ms=joined.now)
    assert joined.pairs.refuse("b", "full", now_ms=joined.now), "already told"
    assert joined.response("b") is Taken.LATE


def test_ids_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "REMEMBERED", 3)
    joined = Joined()
    for identity in "abcd":
        joined.request(identity)
        joined.response(identity)
    joined.after(HOLD)
    assert joined.response("b") is Taken.DUPLICATE
    assert joined.response("a") is Taken.YES, "forgotten: it is lost in the end"


IDS = st.sampled_from("abcdef")
STEPS = st.one_of(
    st.tuples(st.just("request"), IDS),
    st.tuples(st.just("response"), IDS),
    st.tuples(st.just("empty"), IDS),
    st.tuples(st.just("refuse"), IDS),
    st.tuples(st.just("after"), st.integers(1, 3000)),
)


@given(st.lists(STEPS, max_size=40), st.integers(1, 4))
def test_whatever_comes_every_request_ends_once_and_nothing_stays(steps: list[tuple[str, Any]], room: int) -> None:
    joined = Joined(max_pairs=room)
    at_once = 0
    for step, argument in steps:
        if step == "after":
            joined.after(argument)
        elif step == "refuse":
            at_once += not joined.pairs.refuse(argument, "full", now_ms=joined.now)
        elif step == "empty":
            joined.request(argument, b"")
        else:
            getattr(joined, step)(argument)
        assert len(joined.pairs) <= room
    joined.after(WAIT + HOLD).after(1)
    assert (len(joined.pairs), joined.pairs.bytes) == (0, 0)
    ended = [*joined.whole, *joined.unanswered, *joined.lost]
    assert len(ended) == len(set(ended)), "each id ends once"
    times = [time for _, time in joined.numbered]
    assert times == sorted(times)
    assert {identity for identity, _ in joined.numbered} == {*joined.whole, *joined.unanswered}
