"""
How much more windows vary than windows of independent rows would: what repeated or autocorrelated rows do.

Each window is compared with the one before it, so the baseline's error and slow drift cancel. The statistic of such a
pair, over its median for independent rows, is one observation of the dispersion; the median of many is robust against
the few pairs that a drift begins between. Bins do not all vary alike: under autocorrelation a feature's location varies
most, so three statistics are kept per feature, and a test over all bins is scaled by the largest, the bound of Rao and
Scott 1981, "The analysis of categorical data from complex sample surveys" (JASA 76).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.chi_squared import inverse_survival
from tidegauge.drift.jensen_shannon import divergence_parts
from tidegauge.drift.references import References, gathered, smoothed
from tidegauge.drift.results import Array
from tidegauge.drift.window_bins import ComparedBins
from tidegauge.windows import Window

LEARNING_PAIRS: Final = 5
"""From five pairs on a median has an upper limit: that all five lie below it has a probability of 3 %."""

REMEMBERED_PAIRS: Final = 1000
"""When so many are known, all count half: the last 500 to 1,000 pairs speak for the traffic."""

CONFIDENCE_Z: Final = 1.0
"""Normal quantile (84 %) of the upper confidence limit on the median that is taken for the dispersion."""

POOLED_PAIRS: Final = 10
"""
The pairs of all features together count as so many of each one's own: few windows tell little about one feature, many
tell that features differ.
"""

_STATISTICS: Final = 3  # all bins, location, spread
_STEPS_PER_DOUBLING: Final = 4
_LOWEST_LOG2: Final = -6.0
_LIMITS_PER_DOUBLING: Final = 16  # 4 % apart
_CELLS: Final = 80
"""Ratios from 2^-6 to 2^14, in steps of 19 %, between which a quantile is interpolated."""


@dataclass(frozen=True)
class Dispersion:
    """
    pairs: how many pairs of windows the histograms are of, the halved ones as halves. cells: int64 (3, features, 80),
    ratios of a pair's statistic to its median for independent rows: over all bins, location, spread. last: the latest
    window's counts, features one after the other; last_end_ms: where it ended.
    """

    pairs: int = 0
    cells: NDArray[np.int64] = field(default_factory=lambda: np.zeros((_STATISTICS, 0, _CELLS), np.int64))
    last: Array = field(default_factory=lambda: np.empty(0))
    last_end_ms: int | None = None

    @property
    def windows(self) -> int:
        """That made the pairs."""
        return self.pairs + (self.last_end_ms is not None)

    @property
    def learning(self) -> bool:
        return self.pairs < LEARNING_PAIRS

    def knows(self, bins: Sized) -> bool:
        """Whether the windows that it was learnt from had as many distributions."""
        return bool(self.cells.shape[1] == len(bins))

    def for_location(self) -> Array:
        """Per feature, >= 1; infinite while learning."""
        return np.asarray(self._limits[1])

    def for_all_bins(self) -> Array:
        """Per feature, >= 1: the largest of the three; infinite while learning."""
        return np.asarray(self._limits.max(axis=0))

    @functools.cached_property
    def _limits(self) -> Array:
        if self.learning:
            return np.full(self.cells.shape[:2], np.inf)
        rank = 0.5 + CONFIDENCE_Z / (2 * math.sqrt(self.pairs))
        pooled = self.cells.sum(axis=1, keepdims=True)
        filled = np.flatnonzero(pooled.any(axis=(0, 1)))
        # Most cells are empty in every histogram.
        among = slice(filled[0], filled[-1] + 1) if len(filled) else slice(0, 1)
        prior = POOLED_PAIRS * pooled[..., among] / np.maximum(pooled.sum(axis=-1, keepdims=True), 1)
        limits = np.maximum(_quantiles(self.cells[..., among] + prior, rank, first=among.start), 1.0)
        # Up to the next of few values: features that share one share the distribution of their tests, computed once.
        return np.asarray(2.0 ** (np.ceil(np.log2(limits) * _LIMITS_PER_DOUBLING) / _LIMITS_PER_DOUBLING))

    def observe(self, bins: ComparedBins, window: Window) -> Dispersion:
        """
        bins: of a window that has rows. One that overlaps the latest is left out: rows in both would make the two look
        alike.
        """
        return observe_all([self], [bins], [window])[0]

    def _takes(self, bins: ComparedBins, window: Window, ratios: Array | None) -> Dispersion:
        """ratios: to the window before; None where there is none to compare it with."""
        if ratios is None:
            known = Dispersion(cells=np.zeros((_STATISTICS, len(bins), _CELLS), np.int64))
        else:
            known = self.add(ratios)
        return replace(known, last=bins.window.astype(np.float64), last_end_ms=window.end_ms)

    def add(self, ratios: Array) -> Dispersion:
        """One more pair: what `ratios` gives for it."""
        cells, pairs = self.cells.copy(), self.pairs + 1
        cells[_places(ratios)] += 1
        if pairs >= REMEMBERED_PAIRS:
            cells, pairs = cells // 2, pairs // 2
        return replace(self, pairs=pairs, cells=cells)

    def to_state(self) -> dict[str, Any]:
        """places, counts: of the cells that have some, numbered through."""
        places = np.flatnonzero(self.cells)
        whole = self.last.astype(np.int64)
        return {
            "pairs": self.pairs,
            "features": self.cells.shape[1],
            "places": places,
            "counts": self.cells.ravel()[places],
            "last": whole if np.array_equal(whole, self.last) else self.last,
            "last_end_ms": self.last_end_ms,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Dispersion:
        """Also of older programs, whose cells are [statistic, feature, cell, count]."""
        cells = np.zeros((_STATISTICS, state["features"], _CELLS), np.int64)
        if "places" in state:
            cells.ravel()[state["places"]] = state["counts"]
        else:
            filled = np.array(state["cells"], dtype=np.int64).reshape(-1, 4)
            cells[filled[:, 0], filled[:, 1], filled[:, 2]] = filled[:, 3]
        return cls(state["pairs"], cells, np.array(state["last"], dtype=np.float64), state["last_end_ms"])


def observe_all(
    known: Sequence[Dispersion], bins: Sequence[ComparedBins], windows: Sequence[Window]
) -> list[Dispersion]:
    """What each makes of its next window, as `observe` has it: many at once take less time."""
    after = list(known)
    pairs = []
    for at, (one, counts, window) in enumerate(zip(known, bins, windows, strict=True)):
        if one.last_end_ms is None or len(one.last) != len(counts.window):
            after[at] = one._takes(counts, window, None)
        elif window.start_ms >= one.last_end_ms:
            pairs.append(at)
    for at, found in zip(pairs, _ratios_apart([known[at] for at in pairs], [bins[at] for at in pairs]), strict=True):
        after[at] = known[at]._takes(bins[at], windows[at], found)
    return after


def _ratios_apart(known: Sequence[Dispersion], bins: Sequence[ComparedBins]) -> list[Array]:
    """Of each latest window and the next one."""
    if not known:
        return []
    before = np.concatenate([one.last for one in known])
    after = np.concatenate([one.window for one in bins]).astype(np.float64)
    found = ratios([one.references for one in bins], before, after)
    return np.split(found, np.cumsum([len(one) for one in bins])[:-1], axis=1)


def ratios(references: Sequence[References], before: Array, after: Array) -> Array:
    """
    Of two windows' counts, features one after the other: (3, features), NaN where a statistic has nothing to say. Of
    many pairs at once, (pairs, counts): (3, pairs, features). references: several have their features one after the
    other.
    """
    sizes = gathered(references, lambda one: one.sizes)
    starts = np.cumsum(sizes) - sizes
    found = [_ratio_of_all_bins(before, after, starts, sizes)]
    value = np.ones(before.shape[-1])
    value[starts + sizes - 1] = 0.0  # the bin of missing values is no place
    for scores, known in _SCORES:
        ratio = _ratio_of_means(gathered(references, scores), before * value, after * value, starts)
        ratio[..., ~gathered(references, known)] = np.nan
        found.append(ratio)
    return np.array(found)


_SCORES: Final[tuple[tuple[Callable[[References], NDArray[Any]], Callable[[References], NDArray[Any]]], ...]] = (
    (lambda one: one.location, lambda one: one.located),
    (lambda one: one.width, lambda one: one.wide),
)
"""By what a statistic is told, and which features have it."""


def _ratio_of_all_bins(before: Array, after: Array, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> Array:
    rows_before, rows_after = _sums(before, starts), _sums(after, starts)
    p, q = smoothed(before, rows_before, sizes), smoothed(after, rows_after, sizes)
    df = _sums((before + after > 0).astype(np.int64), starts) - 1
    statistic = 8 * _harmonic(rows_before, rows_after) * _sums(divergence_parts(p, q), starts)
    return np.where(df > 0, statistic / _medians(int(df.max()))[df], np.nan)


def _ratio_of_means(scores: Array, before: Array, after: Array, starts: NDArray[np.int64]) -> Array:
    rows_before, rows_after = _sums(before, starts), _sums(after, starts)
    with np.errstate(invalid="ignore", divide="ignore"):  # a feature without values has no mean: NaN
        mean_before = _sums(scores * before, starts) / rows_before
        mean_after = _sums(scores * after, starts) / rows_after
        return np.asarray(_harmonic(rows_before, rows_after) * (mean_after - mean_before) ** 2 / _medians(1)[1])


def _sums(values: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
    """Of each feature's bins."""
    return np.asarray(np.add.reduceat(values, starts, axis=-1))


def _harmonic(one: Array, other: Array) -> Array:
    """Rows of one sample that vary as much as the difference of the two."""
    return np.asarray(one * other / np.maximum(one + other, 1.0))


@functools.lru_cache(maxsize=64)
def _medians(highest: int) -> Array:
    """Of chi-squared with 0 (infinity, for none) ... highest degrees of freedom."""
    return np.array([np.inf, *(inverse_survival(0.5, df) for df in range(1, highest + 1))])


def _places(ratios: Array) -> tuple[NDArray[np.int64], ...]:
    """Where in the cells the ratios are counted: each in a place of its own."""
    statistic, feature = np.nonzero(np.isfinite(ratios))
    known = np.maximum(ratios[statistic, feature], 2.0**_LOWEST_LOG2)
    place = ((np.log2(known) - _LOWEST_LOG2) * _STEPS_PER_DOUBLING).astype(np.int64)
    return statistic, feature, np.minimum(place, _CELLS - 1)


def _quantiles(cells: Array, rank: float, *, first: int) -> Array:
    """Over the last axis, whose first cell is the `first` of all; 0 where there is no observation."""
    totals = cells.sum(axis=-1)
    below = np.cumsum(cells, axis=-1)
    wanted = rank * totals
    place = np.argmax(below >= wanted[..., None], axis=-1)
    at = place + np.arange(0, cells.size, cells.shape[-1]).reshape(place.shape)
    inside, upper = cells.take(at), below.take(at)
    part = 1 - (upper - wanted) / np.where(inside > 0, inside, 1.0)
    return np.where(totals > 0, 2.0 ** (_LOWEST_LOG2 + (first + place + part) / _STEPS_PER_DOUBLING), 0.0)
