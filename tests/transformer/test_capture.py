from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transformer.capture import DROP_REASONS, SKIPPED_HEARTBEATS, Boundary, EventClock, Ledger

START_MS = 1_700_000_000_250

steps = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(0, 900)),
        st.tuples(st.just("tick"), st.integers(0, 2500)),
        st.tuples(st.just("acknowledge"), st.just(0)),
        st.tuples(st.sampled_from(DROP_REASONS), st.just(0)),
    ),
    max_size=80,
)


def test_requests_are_numbered_from_one() -> None:
    ledger = Ledger(START_MS)
    assert [ledger.arrive(START_MS + offset) for offset in (0, 0, 5)] == [1, 2, 3]


def test_the_first_heartbeat_is_the_second_in_which_the_incarnation_began() -> None:
    assert Ledger(START_MS).take_due() == [Boundary(1_700_000_000_000, 0)]


def test_a_boundary_passed_by_an_arrival_does_not_count_it() -> None:
    ledger = Ledger(START_MS)
    ledger.take_due()
    ledger.arrive(1_700_000_000_999)
    ledger.arrive(1_700_000_001_000)
    assert ledger.take_due() == [Boundary(1_700_000_001_000, 1)]


def test_a_boundary_passed_by_a_tick_comes_once() -> None:
    ledger = Ledger(START_MS)
    ledger.take_due()
    ledger.arrive(START_MS)
    ledger.tick(1_700_000_001_003)
    ledger.arrive(1_700_000_001_003)
    ledger.tick(1_700_000_001_900)
    assert ledger.take_due() == [Boundary(1_700_000_001_000, 1)]


def test_every_second_of_a_stall_gets_its_heartbeat() -> None:
    ledger = Ledger(START_MS)
    ledger.take_due()
    ledger.arrive(START_MS)
    ledger.tick(START_MS + 3000)
    assert ledger.take_due() == [Boundary(1_700_000_000_000 + ms, 1) for ms in (1000, 2000, 3000)]


def test_after_a_long_stall_only_the_last_seconds_are_told() -> None:
    ledger = Ledger(START_MS)
    ledger.take_due()
    ledger.tick(START_MS + 3_600_000)
    due = ledger.take_due()
    assert len(due) == SKIPPED_HEARTBEATS
    assert due[-1] == Boundary(1_700_003_600_000, 0)


@given(steps)
def test_the_account_balances_at_every_instant(steps: list[tuple[str, int]]) -> None:
    ledger, now_ms = Ledger(START_MS), START_MS
    ended = 0
    for step, passed_ms in steps:
        now_ms += passed_ms
        if step == "arrive":
            ledger.arrive(now_ms)
        elif step == "tick":
            ledger.tick(now_ms)
        elif ledger.in_flight == 0:
            continue  # nothing there to end
        else:
            ended += 1
            if step == "acknowledge":
                ledger.acknowledge()
            else:
                ledger.drop(step)
        account = ledger.account()
        assert account.balances()
        assert account.served == ledger.seq
        assert account.in_flight == ledger.seq - ended


@given(steps)
def test_the_difference_of_two_heartbeats_is_what_arrived_between_them(steps: list[tuple[str, int]]) -> None:
    ledger, now_ms = Ledger(START_MS), START_MS
    arrivals: list[int] = []
    for step, passed_ms in steps:
        now_ms += passed_ms
        if step == "arrive":
            ledger.arrive(now_ms)
            arrivals.append(now_ms)
        else:
            ledger.tick(now_ms)
    due = ledger.take_due()
    assert all(boundary.time_ms % 1000 == 0 for boundary in due)
    assert [boundary.seq for boundary in due] == [sum(t < boundary.time_ms for t in arrivals) for boundary in due]
    assert len({boundary.time_ms for boundary in due}) == len(due)


class FakeTime:
    def __init__(self) -> None:
        self.wall_ns = 1_700_000_000_000_000_000
        self.monotonic_ns = 0

    def passes(self, ms: int) -> None:
        self.wall_ns += ms * 1_000_000
        self.monotonic_ns += ms * 1_000_000


def test_the_event_clock_tells_the_wall_clock() -> None:
    time = FakeTime()
    clock = EventClock(lambda: time.wall_ns, lambda: time.monotonic_ns)
    time.passes(1500)
    assert clock.now_ms() == 1_700_000_001_500


def test_the_event_clock_does_not_go_back_and_meets_the_wall_clock_again() -> None:
    time = FakeTime()
    clock = EventClock(lambda: time.wall_ns, lambda: time.monotonic_ns)
    told = [clock.now_ms()]
    time.wall_ns -= 10_000_000_000  # set back by 10 s
    for _ in range(200):
        time.passes(100)
        told.append(clock.now_ms())
    assert told == sorted(told)
    assert told[100] - told[0] == 5_000, "time passes at half speed"
    time.passes(1000)
    assert clock.now_ms() == time.wall_ns // 1_000_000


@given(st.lists(st.tuples(st.integers(-5000, 5000), st.integers(0, 5000)), max_size=50))
def test_the_event_clock_never_goes_back(changes: list[tuple[int, int]]) -> None:
    time = FakeTime()
    clock = EventClock(lambda: time.wall_ns, lambda: time.monotonic_ns)
    last_ms = clock.now_ms()
    for set_ms, passed_ms in changes:
        time.wall_ns += set_ms * 1_000_000
        time.passes(passed_ms)
        now_ms = clock.now_ms()
        assert now_ms >= last_ms
        last_ms = now_ms
