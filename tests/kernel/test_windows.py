"""Which windows a record belongs to, and which a heartbeat bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.monitor import Windows
from tidegauge.windows import Window, windows_bounded_by, windows_of

TUMBLING = Windows(duration_ms=5000, slide_ms=5000)
SLIDING = Windows(duration_ms=15_000, slide_ms=5000)

WINDOWS = st.builds(
    lambda slide, times: Windows(duration_ms=1000 * slide * times, slide_ms=1000 * slide),
    st.integers(1, 60),
    st.integers(1, 6),
)
TIMES = st.integers(0, 2**42)


@pytest.mark.parametrize(
    ("time_ms", "start_ms"), [(0, 0), (4999, 0), (5000, 5000), (5001, 5000)], ids=["begin", "end", "next", "inside"]
)
def test_windows_that_do_not_overlap_hold_a_record_once(time_ms: int, start_ms: int) -> None:
    assert windows_of(time_ms, TUMBLING) == [Window(start_ms, start_ms + 5000)]


def test_windows_that_overlap_hold_a_record_as_often_as_they_do() -> None:
    assert windows_of(22_000, SLIDING) == [Window(10_000, 25_000), Window(15_000, 30_000), Window(20_000, 35_000)]


@given(time_ms=TIMES, windows=WINDOWS)
def test_a_records_windows_are_all_that_contain_it(time_ms: int, windows: Windows) -> None:
    found = windows_of(time_ms, windows)
    assert len(found) == windows.duration_ms // windows.slide_ms
    assert found == sorted(found)
    for window in found:
        assert window.start_ms % windows.slide_ms == 0
        assert window.duration_ms == windows.duration_ms
        assert window.start_ms <= time_ms < window.end_ms


def test_a_heartbeat_on_a_boundary_closes_one_window_and_opens_the_next() -> None:
    assert windows_bounded_by(10_000, TUMBLING) == [Window(5000, 10_000), Window(10_000, 15_000)]


def test_a_heartbeat_inside_a_window_is_that_windows_alone() -> None:
    assert windows_bounded_by(11_000, TUMBLING) == [Window(10_000, 15_000)]


@given(seconds=st.integers(0, 2**32), windows=WINDOWS)
def test_a_heartbeats_windows_are_all_that_it_is_in_or_at_an_end_of(seconds: int, windows: Windows) -> None:
    time_ms = 1000 * seconds
    latest = time_ms - time_ms % windows.slide_ms
    candidates = range(latest - windows.duration_ms - windows.slide_ms, latest + 2 * windows.slide_ms, windows.slide_ms)
    expected = [start for start in candidates if start <= time_ms <= start + windows.duration_ms]
    assert [window.start_ms for window in windows_bounded_by(time_ms, windows)] == expected
