"""A user's own statistic: summed with weights in any order, and missing with a reason where it fails."""

from __future__ import annotations

from functools import reduce
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from tests.support.examples import mixed_profile, mixed_rows, monitor_document
from tests.support.own import LogMean, WholeNumbers
from tidegauge.monitor import parse_monitor
from tidegauge.statistics import feature_statistics
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.contract import check_statistic
from tidegauge.summaries.own_sums import NOT_THROUGHOUT
from tidegauge.summaries.window_summary import WindowSummary, summarise_matrix

PROFILE = mixed_profile()
WHOLE, LOG, LATE = (f"tests.support.own:{name}" for name in ("WholeNumbers", "LogMean", "Late"))
ROWS = np.array([[170.0, 0.0, 1.0], [171.5, 1.0, 0.0], [np.nan, 2.0, 1.0], [160.0, 0.0, np.nan]])


def summed(matrix: Any, *names: str, weights: Any = None) -> WindowSummary:
    return summarise_matrix(matrix, PROFILE, weights=weights, statistics=Statistics(own=names))


def told(summary: WindowSummary, *names: str) -> list[dict[str, Any]]:
    monitor = parse_monitor(monitor_document(statistics={"own": list(names)}))
    return [document["own"] for document in feature_statistics(monitor, PROFILE, summary)]


def test_the_statistic_is_of_each_numeric_and_boolean_feature() -> None:
    height, colour, door = told(summed(ROWS, WHOLE), WHOLE)
    assert height == {WHOLE: {"measured": True, "value": pytest.approx(2 / 3)}}
    assert (colour, door) == ({}, {WHOLE: {"measured": True, "value": 1.0}})


def test_rows_count_with_their_weight() -> None:
    height, *_ = told(summed(ROWS, WHOLE, weights=[1.0, 10.0, 5.0, 1.0]), WHOLE)
    assert height[WHOLE]["value"] == pytest.approx(2 / 12)


def test_parts_make_the_whole_in_any_order_and_through_bytes() -> None:
    rows = mixed_rows(300)
    rows[::3, 0] = np.floor(rows[::3, 0])
    whole = told(summed(rows, WHOLE, LOG), WHOLE, LOG)
    parts = [WindowSummary.decode(summed(part, WHOLE, LOG).encode()) for part in (rows[:10], rows[10:10], rows[10:])]
    for order in permutations(parts):
        merged = told(reduce(WindowSummary.merge, order), WHOLE, LOG)
        assert merged[0][WHOLE] == whole[0][WHOLE]
        assert merged[0][LOG]["value"] == pytest.approx(whole[0][LOG]["value"], rel=1e-12)


def test_what_a_part_of_the_window_lacks_the_window_lacks() -> None:
    for parts in ([summed(ROWS, WHOLE), summed(ROWS, LOG)], [summed(ROWS, LOG), summed(ROWS, WHOLE)]):
        height, *_ = told(reduce(WindowSummary.merge, [*parts, summed(ROWS, WHOLE)]), WHOLE)
        assert height == {WHOLE: {"measured": False, "why": NOT_THROUGHOUT}}
    height, *_ = told(summed(ROWS), WHOLE)
    assert height == {WHOLE: {"measured": False, "why": NOT_THROUGHOUT}}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module:Class", "no_such_module:Class: cannot import"),
        ("tests.support.own:Unmade", "TypeError: "),
        ("tests.kernel.summaries.test_own_sums:Wide", "ValueError: terms of shape (3, 33) for 3 values"),
        (LATE, "KeyError: '2 sums'"),
    ],
)
def test_a_fault_is_told_and_stays_told(name: str, why: str) -> None:
    once = summed(ROWS, name)
    for summary in (once, once.merge(summed(ROWS, name)), summed(ROWS[:0], name).merge(once)):
        height, *_ = told(WindowSummary.decode(summary.encode()), name)
        assert not height[name]["measured"]
        assert height[name]["why"].startswith(why) or "for 0 values" in height[name]["why"]


class Wide(WholeNumbers):
    def terms(self, values: Any) -> Any:
        return np.ones((len(values), 33))


def test_what_is_no_number_is_missing() -> None:
    height, *_ = told(summed(np.array([[0.0, 0.0, 0.0]]), LOG), LOG)
    assert height[LOG] == {"measured": False, "why": "is no finite number"}
    height, *_ = told(summed(ROWS[2:3], LOG), LOG)
    assert height[LOG] == {"measured": False, "why": "the window has no value"}


@pytest.mark.parametrize("kind", [WholeNumbers, LogMean])
def test_good_ones_keep_their_promises(kind: Any) -> None:
    check_statistic(kind)


class Ranked(WholeNumbers):
    def terms(self, values: Any) -> Any:
        return np.argsort(np.argsort(values))


class Growing(WholeNumbers):
    def terms(self, values: Any) -> Any:
        return np.ones((len(values), min(len(values), 3) or 1))


class Meddling(WholeNumbers):
    def terms(self, values: Any) -> Any:
        values *= 0.0
        return values


class Counting(WholeNumbers):
    made = 0

    def __init__(self) -> None:
        Counting.made += 1
        self.number = Counting.made

    def terms(self, values: Any) -> Any:
        return np.full(len(values), self.number)


class Wordy(WholeNumbers):
    def value(self, sums: Any, rows: float) -> Any:
        return "many"


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Ranked, "a row's terms depend on that row alone"),
        (Growing, "always the same number of terms"),
        (Meddling, "values are left as they were"),
        (Counting, "the same values have the same terms"),
        (Wordy, "the value is a number"),
    ],
)
def test_a_broken_promise_is_named(kind: Any, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_statistic(kind)
