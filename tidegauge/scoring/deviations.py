"""
Values as float32 deviations from the reference, for detectors that know no units and nothing missing.

A number's deviation is its distance from the feature's reference median, in units of the feature's typical distance:
no digits are lost to float32 far from 0, and what unit the feature came in does not matter. A category counts as the
share of reference rows that have it, so rare ones and, with 0, unseen ones are low. A missing value is at the median.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.features import FeatureSchema, Matrix
from tidegauge.scoring.detector import Array, Missing

ROUNDING: Final = 1e-12
"""A feature whose values differ by no more than this part of their size is a constant."""

LARGEST: Final = float(np.finfo(np.float64).max)


class Deviations:
    def __init__(self, schema: FeatureSchema, *, centre: Array, scale: Array, shares: Mapping[str, Array]) -> None:
        """
        centre, scale: per feature, of a categorical one in shares; the scale of a constant is 0. shares: by categorical
        feature, of its categories in the order of their codes.
        """
        self.centre, self.scale, self.shares = centre, scale, shares
        self._unit = np.where(scale > 0, scale, 1.0)
        self._categorical = np.array([i for i, f in enumerate(schema.features) if f.name in shares], dtype=np.intp)
        tables = [_by_code(shares[schema.names[i]]) for i in self._categorical]
        lengths = np.array([len(table) for table in tables], dtype=np.intp)
        self._shares = np.concatenate([*tables, [0.0]])
        self._first = np.cumsum(lengths) - lengths
        self._last = self._first + lengths - 1

    @classmethod
    def fit(cls, matrix: Matrix, schema: FeatureSchema) -> Deviations:
        shares: dict[str, Array] = {}
        centre, scale = np.zeros(len(schema)), np.zeros(len(schema))
        for position, feature in enumerate(schema.features):
            column = matrix[:, position]
            values = np.clip(column[~np.isnan(column)], -LARGEST, LARGEST)
            if feature.kind == "categorical":
                codes = values.astype(np.intp) + 1
                counts = np.bincount(codes, minlength=len(feature.categories) + 1)[1:]
                shares[feature.name] = counts / max(len(codes), 1)
                values = _by_code(shares[feature.name])[codes]
            centre[position], scale[position] = _location(values)
        return cls(schema, centre=centre, scale=scale, shares=shares)

    def of(self, matrix: Array, missing: Missing) -> NDArray[np.float32]:
        """matrix: (rows, features). Of that shape, C-contiguous, without NaN; infinite beyond what float32 holds."""
        if missing is not None:
            matrix = np.where(missing, 0.0, matrix)
        if len(self._categorical):
            matrix = matrix if missing is not None else matrix.copy()
            matrix[:, self._categorical] = self._shares_of(matrix[:, self._categorical])
        with np.errstate(over="ignore"):
            singles = ((matrix - self.centre) / self._unit).astype(np.float32, order="C")
        if missing is not None:
            singles[missing] = 0.0
        return singles

    def _shares_of(self, codes: Array) -> Array:
        """codes: (rows, categorical features)."""
        places = np.clip(codes + (self._first + 1), self._first, self._last)
        return self._shares.take(places.astype(np.intp))


def _by_code(shares: Array) -> Array:
    """Led by that of an unseen category, whose code is -1."""
    return np.append(0.0, shares)


def _location(values: Array) -> tuple[float, float]:
    """The lower median, and that of the distances from it that are not 0; 0 for a constant."""
    if not len(values):
        return 0.0, 0.0
    centre = _lower_median(values)
    with np.errstate(over="ignore"):
        distances = np.abs(values - centre)
    if distances.max() <= ROUNDING * abs(centre):
        return centre, 0.0
    return centre, min(_lower_median(distances[distances > 0]), LARGEST)


def _lower_median(values: Array) -> float:
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])
