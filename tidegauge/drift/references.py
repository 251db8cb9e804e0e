"""The reference's side of bins: what all windows of a baseline are compared with, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.normal_scores import location_scores, spread_scores
from tidegauge.drift.results import Array, Counts
from tidegauge.features import Kind

PSEUDO_COUNT: Final = 0.5
"""
Added to each bin on both sides. A fixed tiny epsilon instead would make one empty bin decide a whole divergence.
"""


class References:
    """
    Of several features. Arrays of bins have the features' one after the other, the missing values' last of each, as
    `sizes` says. Arrays of (features, widest) have a feature's bins of values in a row, none of one without order.
    """

    def __init__(
        self,
        counts: Sequence[Counts],
        *,
        names: Sequence[str] | None = None,
        kinds: Sequence[Kind] | None = None,
        positions: Sequence[Array | None] | None = None,
    ) -> None:
        """Of each feature, as FeatureBins has them."""
        self.listed = tuple(counts)
        self.names = tuple(repeat("", len(counts)) if names is None else names)
        self.kinds: tuple[Kind, ...] = tuple(repeat("numeric", len(counts)) if kinds is None else kinds)
        self.positions = tuple(repeat(None, len(counts)) if positions is None else positions)
        self.sizes = np.array(list(map(len, counts)))

    def __len__(self) -> int:
        return len(self.listed)

    @cached_property
    def counts(self) -> Array:
        return np.concatenate(self.listed).astype(np.float64)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        return np.asarray(np.cumsum(self.sizes) - self.sizes)

    @cached_property
    def rows(self) -> Array:
        return np.asarray(np.add.reduceat(self.counts, self.starts))

    @cached_property
    def values(self) -> Array:
        """Rows that have a value."""
        return np.asarray(self.rows - self.counts[self.starts + self.sizes - 1])

    @cached_property
    def shares(self) -> Array:
        return smoothed(self.counts, self.rows, self.sizes)

    @cached_property
    def ordered(self) -> NDArray[np.bool_]:
        """Features whose bins have an order: all but categories."""
        return np.array([kind != "categorical" for kind in self.kinds])

    @cached_property
    def places(self) -> NDArray[np.bool_]:
        """(features, widest): whether a bin of values is there."""
        values = np.where(self.ordered, self.sizes - 1, 0)
        return np.asarray(np.arange(max(int(values.max()), 1)) < values[:, None])

    @cached_property
    def placed(self) -> NDArray[np.bool_]:
        """Of all bins, those that `places` has."""
        chosen = np.repeat(self.ordered, self.sizes)
        chosen[self.starts + self.sizes - 1] = False
        return chosen

    @cached_property
    def cumulative(self) -> Array:
        """(features, widest): share of the values up to each bin."""
        rows = np.zeros(self.places.shape)
        rows[self.places] = self.counts[self.placed]
        return np.asarray(np.cumsum(rows, axis=1) / np.maximum(self.values, 1)[:, None])

    @cached_property
    def standing(self) -> Array:
        """(features, widest): where the bins stand; beyond a feature's bins the last one."""
        rows = np.zeros(self.places.shape)
        for row, kind, positions in zip(rows, self.kinds, self.positions, strict=True):
            if kind != "categorical" and positions is not None and len(positions):
                row[: len(positions)] = positions
                row[len(positions) :] = positions[-1]
        return rows

    @cached_property
    def deviation(self) -> Array:
        """Standard deviation of the positions of the values."""
        weights = np.zeros(self.places.shape)
        weights[self.places] = self.counts[self.placed]
        weights /= np.maximum(self.values, 1)[:, None]
        with np.errstate(over="ignore", invalid="ignore"):  # of positions near the largest number
            centred = self.standing - (weights * self.standing).sum(axis=1, keepdims=True)
            return np.asarray(np.sqrt((weights * centred**2).sum(axis=1)))

    @cached_property
    def location(self) -> Array:
        """Normal scores of the bins, 0 for missing values and for a feature without any, which is not `located`."""
        return self._scored(self._location)

    @cached_property
    def located(self) -> NDArray[np.bool_]:
        return np.array([scores is not None for scores in self._location])

    @cached_property
    def width(self) -> Array:
        """The same of the scores that a spread is told by; a feature without any has no `wide`."""
        return self._scored(self._width)

    @cached_property
    def wide(self) -> NDArray[np.bool_]:
        return np.array([scores is not None for scores in self._width])

    @cached_property
    def _location(self) -> list[Array | None]:
        return [location_scores(counts[:-1]) for counts in self.listed]

    @cached_property
    def _width(self) -> list[Array | None]:
        return [spread_scores(counts[:-1]) for counts in self.listed]

    def _scored(self, scores: Sequence[Array | None]) -> Array:
        sizes = self.sizes.tolist()
        return np.concatenate(
            [np.zeros(size) if one is None else np.append(one, 0.0) for one, size in zip(scores, sizes, strict=True)]
        )


def smoothed(counts: Array, rows: Array, sizes: NDArray[np.int64]) -> Array:
    """Shares of the bins of each feature, all above 0. rows: each feature's, in the last axis as the bins are."""
    return np.asarray((counts + PSEUDO_COUNT) / np.repeat(rows + PSEUDO_COUNT * sizes, sizes, axis=-1))


def gathered(parts: Sequence[References], of: Callable[[References], NDArray[Any]]) -> NDArray[Any]:
    """Of all parts one after the other. Rows are widened where others are wider, by what ends them."""
    arrays = [of(part) for part in parts]
    if len(arrays) == 1:
        return arrays[0]
    if arrays[0].ndim == 2 and len({array.shape[1] for array in arrays}) > 1:
        widest = max(array.shape[1] for array in arrays)
        arrays = [np.pad(array, ((0, 0), (0, widest - array.shape[1])), mode="edge") for array in arrays]
    return np.concatenate(arrays)
