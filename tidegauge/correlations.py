"""
Correlations of all reference rows, outliers included: what relations between features windows are compared with.

Kept as Fisher's z in thousandths: as fine for correlations near 1 as for those near 0, and finer than the sampling
error of a million rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.packing import pack, unpack

Array = NDArray[np.float64]

PAIRWISE_FEATURES: Final = 64
"""
Up to so many, a pair is measured on the rows that have a value in both; beyond, on rows with no value missing at all.
Pairs with rows of their own take several times the time here, and six times the bytes in a window's summary.
"""

STRONGEST: Final = 0.999999
"""What a correlation of 1 counts as, whose z would be infinite."""

_STEPS: Final = 1000.0
_UNKNOWN: Final = np.iinfo(np.int16).min


class CorrelationTally:
    """means: of all values, (features,). Blocks are added in any number, in one order."""

    def __init__(self, means: Array) -> None:
        features = len(means)
        self._means = means[:, None]
        self._by_pairs = features <= PAIRWISE_FEATURES
        self._rows = np.zeros((features, features))
        self._sums, self._squares, self._products = (np.zeros((features, features)) for _ in range(3))

    def add(self, columns: Array) -> None:
        """columns: (features, rows), NaN = missing."""
        missing = np.isnan(columns)
        if not self._by_pairs:
            columns = columns[:, ~missing.any(axis=0)]
        deviations = columns - self._means
        if not self._by_pairs or not missing.any():
            self._rows += deviations.shape[1]
            self._sums += deviations.sum(axis=1)[:, None]
            products = deviations @ deviations.T
            self._squares += np.diagonal(products)[:, None]
        else:
            deviations[missing] = 0.0
            present = (~missing).astype(np.float64)
            self._rows += present @ present.T
            self._sums += deviations @ present.T
            self._squares += deviations**2 @ present.T
            products = deviations @ deviations.T
        self._products += products

    def correlation(self) -> Array:
        """Pearson's, (features, features); NaN where one of the two is constant or there are fewer than two rows."""
        rows = np.maximum(self._rows, 1.0)
        squares = self._squares - self._sums**2 / rows
        products = self._products - self._sums * self._sums.T / rows
        # What is left of a constant is the rounding of its mean.
        varied = (self._rows > 1) & (squares > 1e-20 * (self._squares + rows * self._means**2))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = products / np.sqrt(squares) / np.sqrt(squares.T)
        return np.clip(np.where(varied & varied.T, found, np.nan), -1.0, 1.0)


def fisher_z(correlation: Array) -> Array:
    """Fisher's z (Fisher 1921, "On the probable error of a coefficient of correlation", Metron 1), at most 7.3."""
    return np.asarray(np.arctanh(np.clip(correlation, -STRONGEST, STRONGEST)))


def correlations_to_text(correlation: Array) -> str:
    """The upper triangle without its diagonal, packed."""
    z = fisher_z(correlation[np.triu_indices(len(correlation), 1)])
    return pack(np.where(np.isnan(z), _UNKNOWN, np.rint(np.nan_to_num(z) * _STEPS)).astype(np.int16))


def correlations_from_text(text: object, features: int) -> Array:
    """(features, features), 1 on the diagonal. Raises ValueError."""
    steps = unpack(text, np.int16)
    places = np.triu_indices(features, 1)
    if len(steps) != len(places[0]):
        raise ValueError(f"{len(steps)} correlations for {features} features")
    correlation = np.eye(features)
    correlation[places] = np.where(steps == _UNKNOWN, np.nan, np.tanh(steps / _STEPS))
    return np.asarray(np.where(np.tri(features, k=-1, dtype=bool), correlation.T, correlation))
