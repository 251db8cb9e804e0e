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
from tidegauge.scoring.detector import Array, Missing, ReasonsOfRow, ReasonsOfRows, sum_of_row, sum_of_rows

KNOTS: Final = 252
"""
Values kept of each feature's reference, geometrically denser towards both ends; with the ends they fit in 8 levels of a
binary search.
"""

FEW_ROWS: Final = 48
"""Up to here one search over all features is faster than one per feature (measured with 30 features)."""


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
    """See tidegauge.scoring.detector. Contributions are in nats, and a score is their sum."""

    name: Final = "tail"

    def __init__(self, schema: FeatureSchema, references: Sequence[TailReference]) -> None:
        self._references = tuple(references)
        tables = [_cells(f, r) for f, r in zip(schema.features, references, strict=True)]
        self._missing = np.array([_surprise(r.missing, r.rows) for r in references])
        # For a few rows: the knots of all features in one array, ordered by (feature, value), searched in one call.
        # Complex numbers compare exactly that way. Each feature ends in a key that no value reaches, so a value's
        # position among the keys, doubled, is that of its cell in the table.
        self._keys = np.concatenate([_keys(f, np.append(r.knots, np.inf)) for f, r in enumerate(references)])
        self._table = np.concatenate([np.append(table, 0.0) for table in tables])
        self._position = np.arange(len(schema))
        self._row_keys = np.zeros(len(schema), dtype=np.complex128)
        self._row_keys.real = self._position
        self._row_values = self._row_keys.imag
        # For many: one row of knots per feature, filled up to a power of two, searched level by level for all at once.
        longest = max(len(r.knots) for r in references)
        self._levels = [1 << level for level in reversed(range(longest.bit_length()))]
        width = 2 * self._levels[0]
        self._padded = np.full((len(schema), width), np.inf)
        for padded, reference in zip(self._padded, references, strict=True):
            padded[: len(reference.knots)] = reference.knots
        self._first_knot = width * self._position[:, None]
        # From a position among the padded knots to the cell before it.
        cells_before = np.cumsum([0, *(len(table) + 1 for table in tables[:-1])])
        self._first_cell = cells_before[:, None] - 2 * self._first_knot

    @classmethod
    def fit(cls, matrix: Array, schema: FeatureSchema) -> TailDetector:
        return cls(schema, [_reference(f, matrix[:, i]) for i, f in enumerate(schema.features)])

    def score_row(self, row: Array, missing: Missing) -> tuple[float, ReasonsOfRow]:
        self._row_values[:] = row if missing is None else np.where(missing, 0.0, row)
        contributions = self._table.take(self._cells_of(self._row_keys))
        if missing is not None:
            contributions = np.where(missing, self._missing, contributions)
        return sum_of_row(contributions), lambda: contributions

    def scores(self, columns: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        filled = columns if missing is None else np.where(missing, 0.0, columns)
        contributions = self._of_few(filled) if columns.shape[1] <= FEW_ROWS else self._of_many(filled)
        if missing is not None:
            contributions = np.where(missing, self._missing[:, None], contributions)
        return sum_of_rows(contributions), lambda rows: contributions.take(rows, axis=1)

    def _of_few(self, columns: Array) -> Array:
        keys = np.empty(columns.shape, dtype=np.complex128)
        keys.real = self._position[:, None]
        keys.imag = columns
        return self._table.take(self._cells_of(keys))

    def _of_many(self, columns: Array) -> Array:
        knots = self._padded.ravel()
        position = np.empty(columns.shape, dtype=np.intp)
        position[:] = self._first_knot
        for level in self._levels:
            # Without branches, which a processor cannot foresee here.
            position += (knots.take(position + (level - 1)) < columns) * level
        cells = 2 * position + self._first_cell
        cells += knots.take(position) == columns
        return self._table.take(cells)

    def _cells_of(self, keys: NDArray[np.complex128]) -> NDArray[np.int_]:
        """Equal to knot i: cell 2i + 1; between knots i - 1 and i: 2i."""
        left = self._keys.searchsorted(keys)
        cells = left + left
        cells += self._keys.take(left) == keys
        return cells

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
