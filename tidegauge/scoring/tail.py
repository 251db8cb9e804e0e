"""
Outlier score from each feature's empirical tail probabilities.

A feature contributes -log of the probability of a value at least as extreme, in the form of COPOD (Li et al. 2020,
"COPOD: Copula-Based Outlier Detection", eq. 9): the larger of the tail on the side of the skew and the mean of both
tails; a row's score is the sum (ECOD: Li et al. 2022, IEEE TKDE, eq. 6). Both tails count ties, P(X <= x) and
P(X >= x), each with one added to count and total, so a value beyond the sample has a finite score. A category
contributes by its rarity: the probability of a category no more frequent. A missing value contributes by how rare
missing values are.

Each row is scored against the reference alone, never against the rows beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, FeatureSpec

Array = NDArray[np.float64]

KNOTS: Final = 256
"""Values kept of each feature's reference, geometrically denser towards both ends."""


@dataclass(frozen=True)
class TailReference:
    """
    One feature's reference distribution at its knots.

    knots: strictly increasing values. below[i], at_most[i]: how many reference values are < and <= knots[i].
    rows: reference rows; missing: how many of them lack the value. skew: sign of the third central moment.
    """

    knots: Array
    below: Array
    at_most: Array
    rows: int
    missing: int
    skew: float

    @property
    def present(self) -> int:
        return self.rows - self.missing


class TailDetector:
    """
    score(matrix) takes float64 (rows, features), NaN = missing, and gives scores (rows,) and contributions
    (rows, features), all >= 0; a row's contributions sum to its score.
    """

    name: Final = "tail"

    def __init__(self, schema: FeatureSchema, references: Sequence[TailReference]) -> None:
        self._references = tuple(references)
        self._position = np.arange(len(schema))
        # Knots of all features in one array, ordered by (feature, value): complex numbers compare exactly that way.
        self._keys = np.concatenate([_keys(f, r.knots) for f, r in enumerate(references)])
        tables = [_cells(f, r) for f, r in zip(schema.features, references, strict=True)]
        self._table = np.concatenate(tables)
        self._missing = np.array([_surprise(r.missing, r.rows) for r in references])

    @classmethod
    def fit(cls, matrix: Array, schema: FeatureSchema) -> TailDetector:
        return cls(schema, [_reference(f, matrix[:, i]) for i, f in enumerate(schema.features)])

    def score(self, matrix: Array) -> tuple[Array, Array]:
        missing = np.isnan(matrix)
        any_missing = bool(missing.any())
        keys = np.empty(matrix.shape, dtype=np.complex128)
        keys.real = self._position
        keys.imag = np.where(missing, 0.0, matrix) if any_missing else matrix
        # Equal to knot i: left + right = 2i + 1; between knots i - 1 and i: 2i. Each feature has one cell more than
        # twice its knots, hence the feature's position on top.
        left = np.searchsorted(self._keys, keys, side="left")
        right = np.searchsorted(self._keys, keys, side="right")
        contributions = self._table[left + right + self._position]
        if any_missing:
            contributions = np.where(missing, self._missing, contributions)
        return contributions.sum(axis=1), contributions

    def to_document(self) -> dict[str, object]:
        return {
            "features": [
                {
                    "knots": r.knots.tolist(),
                    "below": r.below.astype(int).tolist(),
                    "at_most": r.at_most.astype(int).tolist(),
                    "rows": r.rows,
                    "missing": r.missing,
                    "skew": r.skew,
                }
                for r in self._references
            ]
        }

    @classmethod
    def from_document(cls, document: Any, schema: FeatureSchema) -> TailDetector:
        """Raises InvalidBaseline."""
        try:
            references = [
                TailReference(
                    knots=np.array(f["knots"], dtype=np.float64),
                    below=np.array(f["below"], dtype=np.float64),
                    at_most=np.array(f["at_most"], dtype=np.float64),
                    rows=int(f["rows"]),
                    missing=int(f["missing"]),
                    skew=float(f["skew"]),
                )
                for f in document["features"]
            ]
            return cls(schema, references)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidBaseline(f"detectors.tail: {error!r}") from error


def _reference(feature: FeatureSpec, column: Array) -> TailReference:
    values = np.sort(column[~np.isnan(column)])
    knots = np.arange(len(feature.categories), dtype=np.float64) if feature.kind == "categorical" else _knots(values)
    return TailReference(
        knots=knots,
        below=np.searchsorted(values, knots, side="left").astype(np.float64),
        at_most=np.searchsorted(values, knots, side="right").astype(np.float64),
        rows=len(column),
        missing=len(column) - len(values),
        skew=float(np.sign(((values - values.mean()) ** 3).sum())) if len(values) else 0.0,
    )


def _knots(ordered: Array) -> Array:
    """Every distinct value where they are few, else those at ranks that a logistic curve spaces."""
    distinct = np.unique(ordered)
    if len(distinct) <= KNOTS:
        return distinct
    n = len(ordered)
    ranks = n / (1 + np.exp(-np.log(n) * np.linspace(-1, 1, KNOTS)))
    knots: Array = np.unique(ordered[np.clip(np.rint(ranks).astype(int) - 1, 0, n - 1)])
    return np.unique(np.concatenate([ordered[:1], knots, ordered[-1:]]))


def _keys(position: int, knots: Array) -> NDArray[np.complex128]:
    keys = np.empty(len(knots), dtype=np.complex128)
    keys.real = position
    keys.imag = knots
    return keys


def _cells(feature: FeatureSpec, reference: TailReference) -> Array:
    """Contribution of a value in each cell: before the first knot, at it, between it and the second, ..."""
    if feature.kind == "categorical":
        return _category_cells(reference)
    if reference.present == 0:
        return np.zeros(1)  # nothing is known, so no value is a surprise
    left, right = _tail_counts(reference)
    low, high = _surprise(left, reference.present), _surprise(right, reference.present)
    if len(reference.knots) == 1:
        return np.asarray(np.maximum(low, high))  # a constant has no skew: its own value adds 0, any other the most
    skewed = low if reference.skew < 0 else high
    return np.asarray(np.maximum(skewed, (low + high) / 2))


def _tail_counts(reference: TailReference) -> tuple[Array, Array]:
    """How many reference values are <= and >= a value in each cell; between two knots, half of what lies there."""
    n, knots = reference.present, len(reference.knots)
    left, right = np.empty(2 * knots + 1), np.empty(2 * knots + 1)
    left[1::2], right[1::2] = reference.at_most, n - reference.below
    between = (np.append(0.0, reference.at_most) + np.append(reference.below, n)) / 2
    left[::2], right[::2] = between, n - between
    return left, right


def _category_cells(reference: TailReference) -> Array:
    counts = reference.at_most - reference.below
    cells = np.full(2 * len(counts) + 1, _surprise(0, reference.present))
    no_more_frequent = np.array([counts[counts <= count].sum() for count in counts])
    cells[1::2] = _surprise(no_more_frequent, reference.present)
    return cells


def _surprise(count: Any, total: int) -> Any:
    return -np.log((count + 1.0) / (total + 1.0))
