"""Count, missing, mean, spread and range of every feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import IncompatibleSummaries
from tidegauge.summaries.window_rows import WindowRows

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

_COUNTS: Final = ("count", "missing", "infinite")
_MEASURED: Final = ("weight", "origin", "shift", "m2", "low", "high")

_QUIETLY: Final = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True)
class Moments:
    """
    Per feature, arrays of shape (features,). count, missing: rows with and without a value. infinite: those of the
    missing that are known to have been no finite number. weight: sum of the weights of the rows with a value. origin:
    one of the values, or near them. shift: weighted mean less the origin: kept apart, they hold the mean to more digits
    than one number does, which differences of means need at large offsets. m2: weighted sum of squared deviations from
    the mean. All 0 where count is 0. low, high: +inf, -inf where count is 0.

    Merging follows Chan, Golub and LeVeque 1983 ("Algorithms for computing the sample variance", Am. Statistician 37):
    counts and range are exact in any order, mean and m2 to 1e-9 relative, at offsets up to 1e9 times the spread. Beyond
    about 1e150 the squares overflow, and mean and m2 are no longer finite.
    """

    count: Counts
    missing: Counts
    infinite: Counts
    weight: Array
    origin: Array
    shift: Array
    m2: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, data: WindowRows) -> Moments:
        return cls.of_columns(data.matrix, data.weights, data.infinite)

    @classmethod
    @_QUIETLY
    def of_columns(cls, matrix: Array, weights: Array | None = None, infinite: Counts | None = None) -> Moments:
        """matrix: (rows, columns), NaN = missing. weights: of the rows, None where every one is 1."""
        present = ~np.isnan(matrix)
        whole = bool(len(matrix)) and bool(present.all())

        def of_present(values: Array, otherwise: float) -> Array:
            """Most matrices are whole: to copy them takes half of the time."""
            return values if whole else np.where(present, values, otherwise)

        count = np.full(matrix.shape[1], len(matrix)) if whole else present.sum(axis=0)
        weight = count.astype(np.float64) if weights is None else weights @ present
        divisor = np.where(count > 0, weight, 1.0)
        # About the first value rather than about 0, so that a large offset costs no digits.
        origin = matrix[0].copy() if whole else np.where(count > 0, _first_present(matrix, present), 0.0)
        shifted = of_present(matrix - origin, 0.0)
        shift = _weighted_sum(shifted, weights) / divisor
        return cls(
            count=count,
            missing=len(matrix) - count,
            infinite=np.zeros_like(count) if infinite is None else infinite,
            weight=weight,
            origin=origin,
            shift=shift,
            m2=_weighted_sum(of_present(shifted - shift, 0.0) ** 2, weights),
            low=of_present(matrix, np.inf).min(axis=0, initial=np.inf),
            high=of_present(matrix, -np.inf).max(axis=0, initial=-np.inf),
        )

    @classmethod
    def side_by_side(cls, parts: Sequence[Moments]) -> Moments:
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def arranged(self, positions: NDArray[np.int64]) -> Moments:
        """The columns at these positions; -1 stands for one without any rows."""
        return Moments.side_by_side([self, _NONE]).columns(positions)

    def columns(self, positions: NDArray[np.int64]) -> Moments:
        """The columns at these positions."""
        return Moments(**{name: column[positions] for name, column in vars(self).items()})

    @_QUIETLY
    def merge(self, other: Moments) -> Moments:
        """Raises IncompatibleSummaries when the numbers of features differ."""
        if self.count.shape != other.count.shape:
            raise IncompatibleSummaries("features", len(self.count), len(other.count))
        weight = self.weight + other.weight
        origin = np.where(self.count > 0, self.origin, other.origin)
        left, right = self._shift_from(origin), other._shift_from(origin)
        difference = np.where((self.count > 0) & (other.count > 0), right - left, 0.0)
        share = other.weight / np.where(weight > 0, weight, 1.0)
        return Moments(
            count=self.count + other.count,
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
            weight=weight,
            origin=origin,
            shift=np.where(self.count > 0, left + difference * share, right),
            m2=self.m2 + other.m2 + difference**2 * self.weight * share,
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
        )

    @property
    @_QUIETLY
    def mean(self) -> Array:
        """Weighted; 0 where count is 0."""
        return self.origin + self.shift

    def _shift_from(self, origin: Array) -> Array:
        return np.where(self.count > 0, self.shift + (self.origin - origin), 0.0)

    def standard_deviation(self) -> Array:
        """
        Sample standard deviation; NaN where count < 2. With weights, that of the population the rows were sampled from:
        the weighted mean square times n / (n - 1), n rows (Lumley 2010, "Complex Surveys", section 2.2).
        """
        variance = self._variance()
        return np.asarray(np.sqrt(variance * self.count / np.where(self.count > 1, self.count - 1, np.nan)))

    def population_standard_deviation(self) -> Array:
        """Of the values themselves; NaN where count is 0."""
        return np.asarray(np.sqrt(self._variance()))

    @_QUIETLY
    def total(self) -> Array:
        """Weighted sum of the values; 0 where count is 0."""
        return self.weight * self.mean

    @_QUIETLY
    def total_of_squares(self) -> Array:
        return self.m2 + self.weight * self.mean**2

    def _variance(self) -> Array:
        return self.m2 / np.where(self.count > 0, self.weight, np.nan)

    def to_state(self) -> dict[str, Any]:
        """Two arrays: each one by itself costs more to be written and read than what is in it."""
        return {
            "counts": np.array([getattr(self, name) for name in _COUNTS]),
            "measured": np.array([getattr(self, name) for name in _MEASURED]),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Moments:
        """Also of older programs, with an array for each name."""
        if "measured" not in state:
            return cls._from_arrays(state)
        counts, measured = np.array(state["counts"], dtype=np.int64), np.array(state["measured"], dtype=np.float64)
        return cls(
            **dict(zip(_COUNTS, counts, strict=True)),
            **dict(zip(_MEASURED, measured, strict=True)),
        )

    @classmethod
    def _from_arrays(cls, state: dict[str, Any]) -> Moments:
        """In the first format: the mean in one, no weights or infinite values, null for the range of nothing."""
        counts = {name: np.array(state[name], dtype=np.int64) for name in ("count", "missing")}
        return cls(
            **counts,
            infinite=np.array(state.get("infinite", np.zeros_like(counts["count"])), dtype=np.int64),
            weight=np.array(state.get("weight", counts["count"]), dtype=np.float64),
            origin=np.array(state["origin"] if "origin" in state else state["mean"], dtype=np.float64),
            shift=np.array(state.get("shift", np.zeros(len(counts["count"]))), dtype=np.float64),
            m2=np.array(state["m2"], dtype=np.float64),
            low=_range(state["low"], np.inf),
            high=_range(state["high"], -np.inf),
        )


def _weighted_sum(values: Array, weights: Array | None) -> Array:
    return np.asarray(values.sum(axis=0) if weights is None else weights @ values)


def _first_present(matrix: Array, present: NDArray[np.bool_]) -> Array:
    if not len(matrix):
        return np.zeros(matrix.shape[1])
    return np.asarray(matrix[np.argmax(present, axis=0), np.arange(matrix.shape[1])])


def _range(values: Any, of_nothing: float) -> Array:
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    return np.array([of_nothing if value is None else value for value in values], dtype=np.float64)


_NONE: Final = Moments.of_columns(np.empty((0, 1)))
