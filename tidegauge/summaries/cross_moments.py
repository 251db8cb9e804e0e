"""Covariance and correlation of every pair of numeric features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.correlations import PAIRWISE_FEATURES
from tidegauge.errors import IncompatibleSummaries
from tidegauge.summaries.window_rows import WindowRows

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

_QUIETLY: Final = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True)
class CrossMoments:
    """
    Arrays of shape (columns, columns), a column per numeric or boolean feature in the profile's order. count, weight:
    rows with a value in both, and the sum of their weights. shift[i, j], square[i, j]: of i over those rows, the
    weighted mean less origin[i], of shape (columns,), and the weighted sum of squared deviations from the mean. Mean
    and origin are apart as in Moments. comoment: weighted sum of products of deviations. All 0 where count is 0.
    Merging is Chan's for pairs (Schubert and Gertz 2018, "Numerically stable parallel
    computation of (co-)variance"): exact for counts, the others to 1e-9 of the size of the
    whole columns, whose largest values may be in rows that a pair leaves out.
    """

    count: Counts
    weight: Array
    origin: Array
    shift: Array
    square: Array
    comoment: Array

    @classmethod
    @_QUIETLY
    def of(cls, data: WindowRows) -> CrossMoments:
        matrix, weights = data.numbers, data.weights
        present = ~np.isnan(matrix)
        if matrix.shape[1] > PAIRWISE_FEATURES:
            whole = present.all(axis=1)
            matrix, present, weights = matrix[whole], present[whole], None if weights is None else weights[whole]
        is_whole = bool(present.all())
        origin, deviations = _deviations(matrix, present, is_whole=is_whole)
        weighed = deviations if weights is None else deviations * weights[:, None]
        if is_whole:
            return cls._of_whole_rows(origin, deviations, weighed, weights)
        here = present.astype(np.float64)
        weight = (here if weights is None else here * weights[:, None]).T @ here
        sums = weighed.T @ here
        divisor = np.where(weight > 0, weight, 1.0)
        return cls(
            count=(here.T @ here).astype(np.int64),
            weight=weight,
            origin=origin,
            shift=sums / divisor,
            square=(weighed * deviations).T @ here - sums**2 / divisor,
            comoment=weighed.T @ deviations - sums * sums.T / divisor,
        )

    @classmethod
    def _of_whole_rows(cls, origin: Array, deviations: Array, weighed: Array, weights: Array | None) -> CrossMoments:
        rows, columns = deviations.shape
        weight = float(rows if weights is None else weights.sum())
        sums = weighed.sum(axis=0)
        comoment = weighed.T @ deviations - np.outer(sums, sums) / (weight or 1.0)
        return cls(
            count=np.full((columns, columns), rows, dtype=np.int64),
            weight=np.full((columns, columns), weight),
            origin=origin,
            shift=np.repeat(sums / (weight or 1.0), columns).reshape(columns, columns),
            square=np.repeat(np.diagonal(comoment), columns).reshape(columns, columns),
            comoment=comoment,
        )

    @_QUIETLY
    def merge(self, other: CrossMoments) -> CrossMoments:
        """Raises IncompatibleSummaries when the numbers of features differ."""
        if self.count.shape != other.count.shape:
            raise IncompatibleSummaries("features", len(self.count), len(other.count))
        weight = self.weight + other.weight
        origin = np.where(np.diagonal(self.count) > 0, self.origin, other.origin)
        left, right = self._shift_from(origin), other._shift_from(origin)
        difference = np.where((self.count > 0) & (other.count > 0), right - left, 0.0)
        share = other.weight / np.where(weight > 0, weight, 1.0)
        return CrossMoments(
            count=self.count + other.count,
            weight=weight,
            origin=origin,
            shift=np.where(self.count > 0, left + difference * share, right),
            square=self.square + other.square + difference**2 * self.weight * share,
            comoment=self.comoment + other.comoment + difference * difference.T * self.weight * share,
        )

    def _shift_from(self, origin: Array) -> Array:
        return np.where(self.count > 0, self.shift + (self.origin - origin)[:, None], 0.0)

    def covariance(self) -> Array:
        """Sample covariance; NaN for pairs with fewer than two rows. Weighted as Moments.standard_deviation is."""
        factor = self.count / np.where(self.count > 1, self.weight * (self.count - 1), np.nan)
        return np.asarray(self.comoment * factor)

    @cached_property
    def correlation(self) -> Array:
        """Pearson's, in [-1, 1]; NaN where one of the two is constant or there are fewer than two rows."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = self.comoment / np.sqrt(self.square) / np.sqrt(self.square.T)
        usable = (self.count > 1) & (self.square > 0) & (self.square.T > 0)
        return np.clip(np.where(usable, found, np.nan), -1.0, 1.0)

    def to_state(self) -> dict[str, Any]:
        """Where no value is missing every pair has the same rows: one count, one weight and one mean a feature do."""
        columns = len(self.count)
        upper = upper_triangle(columns)
        comoment = self.comoment[upper]
        if columns and (self.count == self.count[0, 0]).all() and (self.shift == self.shift[:, :1]).all():
            alone = {
                "count": int(self.count[0, 0]),
                "weight": float(self.weight[0, 0]),
                "shift": self.shift[:, 0].copy(),
            }
            return {"columns": columns, "origin": self.origin, "comoment": comoment, "square": None, **alone}
        weight = None if np.array_equal(self.weight, self.count) else self.weight[upper]
        whole = {"shift": self.shift.ravel(), "square": self.square.ravel()}
        pairs = {"count": self.count[upper], "weight": weight, **whole}
        return {"columns": columns, "origin": self.origin, "comoment": comoment, **pairs}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> CrossMoments:
        columns = int(state["columns"])
        comoment = _symmetric(state["comoment"], columns)
        count = _symmetric(state["count"], columns)
        shift, square = state["shift"], state["square"]
        if square is None:
            shift, square = np.repeat(shift, columns), np.repeat(np.diagonal(comoment), columns)
        return cls(
            count=count.astype(np.int64),
            weight=count if state["weight"] is None else _symmetric(state["weight"], columns),
            origin=np.array(state["origin"], dtype=np.float64),
            shift=np.array(shift, dtype=np.float64).reshape(columns, columns),
            square=np.array(square, dtype=np.float64).reshape(columns, columns),
            comoment=comoment,
        )


def _deviations(matrix: Array, present: NDArray[np.bool_], *, is_whole: bool) -> tuple[Array, Array]:
    """Values about an origin near each column's mean, 0 where missing: what is left of an offset is mere spread."""
    if not len(matrix):
        return np.zeros(matrix.shape[1]), matrix
    if is_whole:
        origin = matrix[0] + (matrix - matrix[0]).mean(axis=0)
        return origin, matrix - origin
    first = matrix[np.argmax(present, axis=0), np.arange(matrix.shape[1])]
    first = np.where(present.any(axis=0), first, 0.0)
    shifted = np.where(present, matrix - first, 0.0)
    origin = first + shifted.sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    return origin, np.where(present, matrix - origin, 0.0)


@lru_cache(maxsize=16)
def upper_triangle(columns: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places of the pairs, each once, and of the columns themselves."""
    rows, cols = np.triu_indices(columns)
    return rows, cols


def _symmetric(triangle: Any, columns: int) -> Array:
    """triangle: or one number, of all pairs."""
    if isinstance(triangle, int | float):
        return np.full((columns, columns), float(triangle))
    full = np.empty((columns, columns))
    rows, cols = upper_triangle(columns)
    full[rows, cols] = triangle
    full[cols, rows] = triangle
    return full
