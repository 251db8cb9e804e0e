"""Count, missing, mean, spread and range of every feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import IncompatibleSummaries
from tidegauge.summaries.window_rows import WindowRows

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

_QUIETLY: Final = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True)
class Moments:
    """
    Per feature, arrays of shape (features,). count, missing: rows with and without a value. mean, m2: of the values,
    m2 the sum of squared deviations from the mean; 0 where count is 0. low, high: +inf, -inf where count is 0.

    Merging follows Chan, Golub and LeVeque 1983 ("Algorithms for computing the sample variance", Am. Statistician 37):
    counts and range are exact in any order, mean and m2 to 1e-9 relative, at offsets up to 1e9 times the spread. Beyond
    about 1e150 the squares overflow, and mean and m2 are no longer finite.
    """

    count: Counts
    missing: Counts
    mean: Array
    m2: Array
    low: Array
    high: Array

    @classmethod
    @_QUIETLY
    def of(cls, data: WindowRows) -> Moments:
        matrix = data.matrix
        present = ~np.isnan(matrix)
        count = present.sum(axis=0)
        divisor = np.maximum(count, 1)
        # About the first value rather than about 0, so that a large offset costs no digits.
        origin = np.where(present.any(axis=0), _first_present(matrix, present), 0.0)
        shifted = np.where(present, matrix - origin, 0.0)
        shift = shifted.sum(axis=0) / divisor
        return cls(
            count=count,
            missing=len(matrix) - count,
            mean=origin + shift,
            m2=(np.where(present, shifted - shift, 0.0) ** 2).sum(axis=0),
            low=np.where(present, matrix, np.inf).min(axis=0, initial=np.inf),
            high=np.where(present, matrix, -np.inf).max(axis=0, initial=-np.inf),
        )

    @_QUIETLY
    def merge(self, other: Moments) -> Moments:
        """Raises IncompatibleSummaries when the numbers of features differ."""
        if self.count.shape != other.count.shape:
            raise IncompatibleSummaries("features", len(self.count), len(other.count))
        count = self.count + other.count
        divisor = np.maximum(count, 1)
        difference = np.where((self.count > 0) & (other.count > 0), other.mean - self.mean, 0.0)
        share = other.count / divisor
        return Moments(
            count=count,
            missing=self.missing + other.missing,
            mean=np.where(self.count > 0, self.mean + difference * share, other.mean),
            m2=self.m2 + other.m2 + difference**2 * self.count * share,
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
        )

    def standard_deviation(self) -> Array:
        """Sample standard deviation (n - 1); NaN where count < 2."""
        spread = np.full(len(self.count), np.nan)
        enough = self.count > 1
        spread[enough] = np.sqrt(self.m2[enough] / (self.count[enough] - 1))
        return spread

    def to_state(self) -> dict[str, Any]:
        return {
            "count": self.count.tolist(),
            "missing": self.missing.tolist(),
            "mean": self.mean.tolist(),
            "m2": self.m2.tolist(),
            "low": _finite(self.low),
            "high": _finite(self.high),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Moments:
        return cls(
            count=np.array(state["count"], dtype=np.int64),
            missing=np.array(state["missing"], dtype=np.int64),
            mean=np.array(state["mean"], dtype=np.float64),
            m2=np.array(state["m2"], dtype=np.float64),
            low=np.array([np.inf if value is None else value for value in state["low"]]),
            high=np.array([-np.inf if value is None else value for value in state["high"]]),
        )


def _first_present(matrix: Array, present: NDArray[np.bool_]) -> Array:
    if not len(matrix):
        return np.zeros(matrix.shape[1])
    return np.asarray(matrix[np.argmax(present, axis=0), np.arange(matrix.shape[1])])


def _finite(values: Array) -> list[float | None]:
    """JSON has no infinity; the range of nothing is null."""
    return [value if np.isfinite(value) else None for value in values.tolist()]
