"""Moments against numpy, at offsets where sums of squares would be lost."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from tests.support.examples import make_record, numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.features import Matrix
from tidegauge.summaries.gathered_records import GatheredRecords
from tidegauge.summaries.moments import Moments
from tidegauge.summaries.window_rows import WindowRows

PROFILE = BaselineProfile.fit(np.random.default_rng(0).normal(size=(300, 2)), numeric_schema(2))


def moments(matrix: Matrix) -> Moments:
    return Moments.of(WindowRows(PROFILE, GatheredRecords(PROFILE), [], matrix))


def draws(rows: int, offset: float) -> Matrix:
    return np.random.default_rng(1).normal(size=(rows, 2)) * [1.0, 5.0] + offset


@pytest.mark.parametrize(("offset", "rtol"), [(0.0, 1e-12), (1.0, 1e-12), (1e9, 1e-9), (-1e9, 1e-9), (1e12, 1e-5)])
@pytest.mark.parametrize("parts", [1, 2, 7, 100])
def test_mean_and_spread_are_numpys_at_any_offset_and_grouping(offset: float, rtol: float, parts: int) -> None:
    rows = draws(5000, offset)
    merged = reduce(Moments.merge, (moments(part) for part in np.array_split(rows, parts)))
    np.testing.assert_allclose(merged.mean, rows.mean(axis=0), rtol=1e-9)
    # About a shifted origin, the reference itself loses no digits.
    exact = (rows - rows[0]).std(axis=0, ddof=1)
    np.testing.assert_allclose(merged.standard_deviation(), exact, rtol=rtol)
    np.testing.assert_array_equal(merged.low, rows.min(axis=0))
    np.testing.assert_array_equal(merged.high, rows.max(axis=0))
    assert merged.count.tolist() == [5000, 5000]


def test_a_shift_of_a_billion_between_windows_keeps_the_variance() -> None:
    before, after = draws(1000, 0.0), draws(1000, 1e9)
    merged = moments(before).merge(moments(after))
    np.testing.assert_allclose(merged.standard_deviation(), np.vstack([before, after]).std(axis=0, ddof=1), rtol=1e-9)


def test_missing_values_are_counted_and_left_out() -> None:
    summary = moments(np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, 5.0]]))
    assert summary.count.tolist() == [2, 1]
    assert summary.missing.tolist() == [1, 2]
    assert summary.mean.tolist() == [2.0, 5.0]
    assert summary.m2.tolist() == [2.0, 0.0]
    np.testing.assert_array_equal(summary.standard_deviation(), [np.sqrt(2.0), np.nan])


def test_of_no_values_there_is_no_range() -> None:
    summary = moments(np.empty((0, 2)))
    assert summary.count.tolist() == [0, 0]
    assert (summary.low.tolist(), summary.high.tolist()) == ([np.inf] * 2, [-np.inf] * 2)
    again = Moments.from_state(summary.to_state())
    np.testing.assert_array_equal(again.low, summary.low)
    np.testing.assert_array_equal(again.high, summary.high)


def test_numbers_whose_squares_overflow_raise_nothing() -> None:
    huge, usual = moments(np.array([[1e308, 1.0], [-1e308, 2.0]])), moments(draws(10, 0.0))
    merged = Moments.from_state(huge.to_state()).merge(usual)
    assert not np.isfinite(merged.standard_deviation()[0])
    assert np.isfinite(merged.standard_deviation()[1])
    assert merged.high[0] == 1e308


def test_rows_of_all_records_are_taken_together() -> None:
    records = [
        make_record(features=[[1.0, 2.0], [3.0, None]]),
        make_record(features=None),
        make_record(features=[]),
        make_record(features=[["x", 4.0]]),
    ]
    np.testing.assert_array_equal(
        WindowRows.of(GatheredRecords.of(records, PROFILE), [], PROFILE).matrix,
        [[1.0, 2.0], [3.0, np.nan], [np.nan, 4.0]],
    )
    assert WindowRows.of(GatheredRecords.of(records[1:3], PROFILE), [], PROFILE).matrix.shape == (0, 2)


def test_the_first_format_had_no_range_where_there_was_no_value() -> None:
    ranges = {"low": [None, 1], "high": [None, 2]}
    read = Moments.from_state({"count": [0, 2], "missing": [2, 0], "mean": [0.0, 1.5], "m2": [0.0, 0.5]} | ranges)
    assert (read.low.tolist(), read.high.tolist()) == ([np.inf, 1.0], [-np.inf, 2.0])
    assert (read.mean.tolist(), read.weight.tolist()) == ([0.0, 1.5], [0.0, 2.0])


def test_moments_that_older_programs_wrote_are_read() -> None:
    """An array for each name; in the first format lists, the mean in one, and null for the range of nothing."""
    written = moments(np.array([[1.0, np.nan], [3.0, np.nan]]))
    by_name = Moments.from_state(dict(vars(written)))
    first = {"count": [2, 0], "missing": [0, 2], "mean": [2.0, 0.0], "m2": [2.0, 0.0], "low": [1.0, None]}
    earliest = Moments.from_state(first | {"high": [3.0, None]})
    again = Moments.from_state(written.to_state())
    for name, expected in vars(written).items():
        np.testing.assert_array_equal(getattr(by_name, name), expected)
        np.testing.assert_array_equal(getattr(again, name), expected)
    np.testing.assert_array_equal(earliest.mean, written.mean)
    np.testing.assert_array_equal(earliest.low, written.low)
    np.testing.assert_array_equal(earliest.high, written.high)
    assert earliest.weight.tolist() == [2.0, 0.0]
