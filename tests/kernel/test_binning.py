"""The bins of drift: every value is in exactly one, whatever the reference looks like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tidegauge.binning import TARGET_BINS, count_bins, cut_edges
from tidegauge.features import UNSEEN, FeatureSpec

NUMBER = FeatureSpec("x")
CATEGORY = FeatureSpec("c", "categorical", ("blue", "green", "red"))

FLOATS = st.floats(allow_nan=True, allow_infinity=False, width=32) | st.sampled_from([0.0, 1.0, -1.0])
REFERENCES = hnp.arrays(np.float64, st.integers(1, 80), elements=FLOATS)
COLUMNS = hnp.arrays(np.float64, st.integers(0, 80), elements=FLOATS | st.sampled_from([1e308, -1e308]))


def bin_of(edges: np.ndarray, value: float) -> int:
    return int(np.argmax(count_bins(edges, np.array([value]))))


@given(reference=REFERENCES, values=COLUMNS)
def test_every_value_is_in_exactly_one_bin(reference: np.ndarray, values: np.ndarray) -> None:
    edges = cut_edges(NUMBER, reference)
    counts = count_bins(edges, values)
    assert len(counts) == len(edges) + 2
    assert counts.sum() == len(values)
    assert counts[-1] == np.isnan(values).sum()
    assert (np.diff(edges) > 0).all()


@given(reference=REFERENCES)
def test_the_open_ends_are_empty_in_the_reference_itself(reference: np.ndarray) -> None:
    counts = count_bins(cut_edges(NUMBER, reference), reference)
    assert np.isnan(reference).all() or (counts[0], counts[-2]) == (0, 0)


@given(reference=REFERENCES)
def test_there_are_few_bins_and_each_holds_its_share(reference: np.ndarray) -> None:
    counts = count_bins(cut_edges(NUMBER, reference), reference)
    inner = counts[1:-2]
    assert len(inner) <= 2 * TARGET_BINS + 1
    target = (len(reference) - counts[-1]) / TARGET_BINS
    # A bin may be light only where a heavy value cut it off, or at the end.
    light = np.flatnonzero(inner < target)
    assert all(position == len(inner) - 1 or inner[position + 1] >= target for position in light)


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e9])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_a_smooth_reference_is_cut_into_equal_shares_at_any_offset(offset: float, scale: float) -> None:
    values = np.random.default_rng(1).normal(size=4000) * scale + offset
    counts = count_bins(cut_edges(NUMBER, values), values)[1:-2]
    assert len(counts) == TARGET_BINS
    assert counts.min() >= 240
    assert counts.max() <= 260


def test_a_value_that_is_a_bins_worth_has_a_bin_of_its_own() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(size=1000), np.zeros(500), np.full(300, 7.0)])
    edges = cut_edges(NUMBER, values)
    counts = count_bins(edges, values)
    assert counts[bin_of(edges, 0.0)] == 500
    assert counts[bin_of(edges, 7.0)] == 300


def test_a_constant_has_a_bin_for_itself_and_one_on_either_side() -> None:
    edges = cut_edges(NUMBER, np.full(50, 3.0))
    assert [bin_of(edges, value) for value in (2.9, 3.0, 3.1)] == [0, 1, 2]


@pytest.mark.parametrize("constant", [0.0, 1e9, -1e-300, 1e100])
def test_the_next_double_below_a_constant_is_another_bin(constant: float) -> None:
    edges = cut_edges(NUMBER, np.full(50, constant))
    assert bin_of(edges, np.nextafter(constant, -np.inf)) != bin_of(edges, constant)


def test_a_feature_without_any_value_has_one_value_bin() -> None:
    edges = cut_edges(NUMBER, np.full(10, np.nan))
    assert count_bins(edges, np.array([1.0, np.nan, np.nan])).tolist() == [1, 2]


def test_every_category_has_a_bin_and_unseen_ones_share_the_first() -> None:
    edges = cut_edges(CATEGORY, np.array([0.0, 0.0, 2.0]))
    values = np.array([UNSEEN, UNSEEN, 0.0, 1.0, 1.0, 1.0, 2.0, np.nan])
    assert count_bins(edges, values).tolist() == [2, 1, 3, 1, 1]


def test_no_rows_are_counted_as_none() -> None:
    edges = cut_edges(NUMBER, np.arange(100.0))
    assert count_bins(edges, np.empty(0)).tolist() == [0] * (len(edges) + 2)
