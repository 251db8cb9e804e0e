"""How windows vary is learnt from pairs of them: 1 for independent rows, more for repeated and autocorrelated ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegauge.binning import count_bins, cut_edges
from tidegauge.dispersion import LEARNING_PAIRS, REMEMBERED_PAIRS, Dispersion, observe_all, ratios
from tidegauge.drift.references import References
from tidegauge.drift.window_bins import ComparedBins, FeatureBins
from tidegauge.features import FeatureSpec
from tidegauge.summaries import container
from tidegauge.windows import Window

RNG = np.random.default_rng(1)
COLUMN = RNG.normal(size=20_000)
EDGES = cut_edges(FeatureSpec("x"), COLUMN)
REFERENCE = count_bins(EDGES, COLUMN)
SHARES = REFERENCE / REFERENCE.sum()
ROWS = 600


def window(number: int) -> Window:
    return Window(5000 * number, 5000 * number + 5000)


def learnt(windows: list[NDArray[np.int64]]) -> Dispersion:
    dispersion = Dispersion()
    for number, counts in enumerate(windows):
        dispersion = dispersion.observe(bins(counts), window(number))
    return dispersion


def bins(*windows: NDArray[np.int64], references: Sequence[NDArray[np.int64]] = (REFERENCE,)) -> ComparedBins:
    """Of features with these references."""
    described = zip(references, windows, strict=True)
    return ComparedBins.of([FeatureBins("x", "numeric", reference, counts) for reference, counts in described])


def written(dispersion: Dispersion) -> bytes:
    return container.dump(dispersion.to_state())


def repeated(copies: int, windows: int) -> list[NDArray[np.int64]]:
    return list(copies * RNG.multinomial(ROWS // copies, SHARES, size=windows))


def test_five_pairs_of_windows_are_learnt_from() -> None:
    assert Dispersion().learning
    assert Dispersion().windows == 0
    young = learnt(repeated(1, LEARNING_PAIRS))
    assert young.learning
    assert young.windows == LEARNING_PAIRS
    assert np.isinf(young.for_all_bins()).all()
    grown = learnt(repeated(1, LEARNING_PAIRS + 1))
    assert not grown.learning
    assert grown.windows == LEARNING_PAIRS + 1


@pytest.mark.parametrize("copies", [1, 3, 6])
def test_rows_sent_several_times_count_once(copies: int) -> None:
    dispersion = learnt(repeated(copies, 300))
    for limit in (dispersion.for_all_bins(), dispersion.for_location()):
        assert limit.shape == (1,)
        assert copies <= limit[0] < 1.5 * copies


def test_autocorrelation_shows_in_the_location_most() -> None:
    """An autoregression of 0.8 multiplies the variance of means by (1 + 0.8) / (1 - 0.8) = 9."""
    values = np.empty(ROWS * 300)
    state = 0.0
    for row, noise in enumerate(RNG.normal(size=len(values)) * 0.6):
        state = 0.8 * state + noise
        values[row] = state
    dispersion = learnt([count_bins(EDGES, part) for part in values.reshape(300, ROWS)])
    assert 6.5 < dispersion.for_location()[0] < 14
    assert dispersion.for_all_bins()[0] == dispersion.for_location()[0]


def test_a_drift_that_begins_or_creeps_is_no_dispersion() -> None:
    shifted = count_bins(EDGES, COLUMN + 1.0)
    before, after = repeated(1, 40), list(RNG.multinomial(ROWS, shifted / shifted.sum(), size=40))
    assert learnt(before + after).for_all_bins()[0] < 2.0


def test_the_limit_is_wider_while_windows_are_few() -> None:
    few = np.mean([learnt(repeated(1, 8)).for_location()[0] for _ in range(20)])
    many = learnt(repeated(1, 400)).for_location()[0]
    assert few > 1.4 > many


def test_overlapping_windows_are_left_out() -> None:
    first, second, third = repeated(1, 3)
    dispersion = Dispersion().observe(bins(first), Window(0, 10_000))
    overlapped = dispersion.observe(bins(second), Window(5_000, 15_000))
    assert overlapped == dispersion
    assert overlapped.observe(bins(third), Window(10_000, 20_000)).pairs == 1


def test_other_bins_begin_anew() -> None:
    others = bins(np.array([3, 3, 0]), references=[np.array([5, 5, 0])])
    dispersion = learnt(repeated(1, 4)).observe(others, window(4))
    assert (dispersion.pairs, dispersion.cells.shape[1]) == (0, 1)


def test_old_pairs_fade() -> None:
    dispersion = Dispersion(cells=np.zeros((3, 1, 80), np.int64))
    for _ in range(REMEMBERED_PAIRS):
        dispersion = dispersion.add(np.ones((3, 1)))
    assert dispersion.pairs == REMEMBERED_PAIRS // 2
    assert dispersion.cells.sum() == 3 * REMEMBERED_PAIRS // 2


def test_a_pair_of_equal_windows_has_the_lowest_ratio_and_extreme_ones_the_highest() -> None:
    one = REFERENCE.astype(np.float64)
    assert (ratios([References([REFERENCE])], one, one)[[0, 1, 2]] < 1e-9).all()
    dispersion = Dispersion(cells=np.zeros((3, 1, 80), np.int64))
    for _ in range(LEARNING_PAIRS):
        dispersion = dispersion.add(np.full((3, 1), 1e9))
    assert dispersion.for_location()[0] == pytest.approx(2.0**14, rel=0.2)


def test_what_has_no_order_values_or_change_says_nothing() -> None:
    """Features: all values in one bin; two bins, so no spread; nothing but missing values."""
    references = [np.array([0, 9, 0, 0]), np.array([0, 50, 50, 0, 0]), np.array([0, 0, 9])]
    before = np.concatenate([[0, 9, 0, 0], [0, 40, 60, 0, 0], [0, 0, 9]]).astype(np.float64)
    after = np.concatenate([[0, 9, 0, 0], [0, 60, 40, 0, 0], [0, 0, 9]]).astype(np.float64)
    found = ratios([References(references)], before, after)
    assert np.isnan(found[:, [0, 2]]).all()
    assert np.isfinite(found[:2, 1]).all()
    assert found[1, 1] == pytest.approx(50 * 0.4**2 / 0.4549, rel=1e-3)
    assert not Dispersion(cells=np.zeros((3, 3, 80), np.int64)).add(found).cells[:, [0, 2]].any()


def test_several_learn_at_once_what_each_learns_alone() -> None:
    """Of two features, of one, of one that begins, and of one whose window overlaps the latest."""
    two = [REFERENCE, np.array([0, 50, 50, 0, 0])]
    first, second = (bins(counts, np.array([0, 300, 300, 0, 0]), references=two) for counts in repeated(1, 2))
    known = [Dispersion().observe(first, window(0)), learnt(repeated(3, 9)), Dispersion(), learnt(repeated(1, 9))]
    seen = [second, *(bins(counts) for counts in repeated(1, 3))]
    windows = [window(1), window(9), window(9), window(8)]
    together = observe_all(known, seen, windows)
    alone = [one.observe(*of) for one, *of in zip(known, seen, windows, strict=True)]
    assert list(map(written, together)) == list(map(written, alone))
    assert [one.pairs for one in together] == [1, 9, 0, 8]


def test_the_state_is_whole() -> None:
    dispersion = learnt(repeated(1, 30))
    sampled = replace(dispersion, last=dispersion.last / 3)
    for one in (dispersion, sampled, Dispersion()):
        again = Dispersion.from_state(container.load(written(one)))
        assert written(again) == written(one)
        assert again.last.tolist() == one.last.tolist()
        assert again.windows == one.windows
    assert again.learning
    assert Dispersion.from_state(dispersion.to_state()).for_all_bins() == dispersion.for_all_bins()
