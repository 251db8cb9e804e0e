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
from tidegauge.packing import pack, unpack
from tidegauge.scoring.detector import (
    Array,
    Missing,
    ReadyReasons,
    ReasonsOfRow,
    ReasonsOfRows,
    sum_of_row,
    sum_of_rows,
)

KNOTS: Final = 188
"""
Values kept of each feature's reference, geometrically denser towards both ends; with the ends they fit in 8 levels of a
binary search, and in 12 blocks.
"""

BLOCK: Final = 16
"""Knots that are compared at once when rows are few; a feature has at most BLOCK * BLOCK - 1 of them then."""

FEW_ROWS: Final = 24
"""Up to here two steps of a block each are faster than a step per level (measured with 30 features)."""


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


@dataclass(frozen=True)
class _FewRows:
    """
    What is searched for a given number of rows, of shape (..., rows x features). last_of_blocks: the last knot of each
    of a feature's blocks. first_block: where the feature's blocks begin.
    """

    last_of_blocks: Array
    first_block: NDArray[np.intp]


class TailDetector:
    """See tidegauge.scoring.detector. Contributions are in nats, and a score is their sum."""

    name: Final = "tail"

    def __init__(self, schema: FeatureSchema, references: Sequence[TailReference]) -> None:
        self._references = tuple(references)
        self._missing = np.array([_surprise(r.missing, r.rows) for r in references])
        self._longest = longest = max(len(r.knots) for r in references)
        self._levels = [1 << level for level in reversed(range(longest.bit_length()))]
        # One row of knots per feature, filled up with a value that none reaches to a power of two, which is searched
        # without branches, that a processor could not foresee here. Place p among all knots, doubled, is the cell
        # before it, and one more the cell of the knot itself.
        width = max(2 * self._levels[0], BLOCK * BLOCK)
        self._knots = np.full((len(schema), width), np.inf)
        table = np.zeros((len(schema), 2 * width))
        for feature, reference, knots, cells in zip(schema.features, references, self._knots, table, strict=True):
            knots[: len(reference.knots)] = reference.knots
            cells[: 2 * len(reference.knots) + 1] = _cells(feature, reference)
        self._table = table.ravel()
        self._first_knot = width * np.arange(len(schema))
        # For one row: all knots ordered by (feature, value), searched in one call. Complex numbers compare that way.
        self._keys = _keys(np.repeat(np.arange(len(schema)), width), self._knots.ravel())
        self._row_keys = _keys(np.arange(len(schema)), np.zeros(len(schema)))
        self._row_values = self._row_keys.imag
        self._few_rows = FEW_ROWS if longest < BLOCK * BLOCK else 0
        self._blocks = self._knots.reshape(-1, BLOCK)
        self._few: dict[int, _FewRows] = {}

    @classmethod
    def fit(cls, matrix: Array, schema: FeatureSchema) -> TailDetector:
        return cls(schema, [_reference(f, matrix[:, i]) for i, f in enumerate(schema.features)])

    def score_row(self, row: Array, missing: Missing) -> tuple[float, ReasonsOfRow]:
        self._row_values[:] = row if missing is None else np.where(missing, 0.0, row)
        left = self._keys.searchsorted(self._row_keys)
        # Equal to knot i: cell 2i + 1; between knots i - 1 and i: 2i.
        cells = left + left
        cells += self._keys.take(left) == self._row_keys
        contributions = self._table.take(cells)
        if missing is not None:
            contributions = np.where(missing, self._missing, contributions)
        return sum_of_row(contributions), lambda: contributions

    def scores(self, matrix: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        filled = matrix if missing is None else np.where(missing, 0.0, matrix)
        cells = (self._cells_of_few if len(matrix) <= self._few_rows else self._cells_of_many)(filled)
        contributions = self._table.take(cells)
        if missing is not None:
            contributions = np.where(missing, self._missing, contributions)
        return sum_of_rows(contributions), ReadyReasons(contributions)

    def _cells_of_few(self, matrix: Array) -> NDArray[np.intp]:
        """Counts the smaller knots in two steps: among the last of each block, then in the block, all compared."""
        values = matrix.ravel()
        few = self._few.get(len(matrix)) or self._prepared_for(len(matrix))
        block = np.add.reduce((few.last_of_blocks < values).view(np.uint8), axis=0, dtype=np.uint8) + few.first_block
        place = block * BLOCK
        # The first that is not smaller: the block's last, at the latest.
        place += (self._blocks.take(block, axis=0) < values[:, None]).argmin(axis=1)
        cells = place + place
        cells += self._knots.take(place) == values
        return np.asarray(cells.reshape(matrix.shape))

    def _prepared_for(self, rows: int) -> _FewRows:
        last = np.tile(self._knots[:, BLOCK - 1 : self._longest + BLOCK : BLOCK].T, rows)
        few = _FewRows(last_of_blocks=np.ascontiguousarray(last), first_block=np.tile(self._first_knot // BLOCK, rows))
        self._few[rows] = few
        return few

    def _cells_of_many(self, matrix: Array) -> NDArray[np.intp]:
        """Level by level of a binary search for all values at once, feature after feature."""
        columns, knots = np.ascontiguousarray(matrix.T), self._knots.ravel()
        place = np.empty(columns.shape, dtype=np.intp)
        place[:] = self._first_knot[:, None]
        for level in self._levels:
            place += (knots.take(place + (level - 1)) < columns) * level
        cells = place + place
        cells += knots.take(place) == columns
        return np.ascontiguousarray(cells.T)

    def to_document(self) -> dict[str, object]:
        """The numbers of all features one after the other, each part packed as a whole."""
        every = self._references
        return {
            "sizes": [len(r.knots) for r in every],
            "knots": pack(np.concatenate([r.knots for r in every])),
            "below": pack(np.concatenate([np.diff(r.below, prepend=0) for r in every]).astype(np.int64)),
            "ties": pack(np.concatenate([r.at_most - r.below for r in every]).astype(np.int64)),
            "rows": [r.rows for r in every],
            "missing": [r.missing for r in every],
            "skew": [r.skew for r in every],
        }

    @classmethod
    def from_document(cls, document: Any, schema: FeatureSchema) -> TailDetector:
        """Raises InvalidBaseline."""
        try:
            version_1 = "features" in document
            return cls(schema, _references_of_version_1(document) if version_1 else _references(document))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidBaseline(f"detectors.tail: {error!r}") from error


def _references(document: Any) -> list[TailReference]:
    ends = np.cumsum(document["sizes"])
    knots, below, ties = (
        unpack(document["knots"], np.float64),
        *(unpack(document[k], np.int64) for k in ("below", "ties")),
    )
    if not len(ends) or not len(knots) == len(below) == len(ties) == ends[-1]:
        raise ValueError("sizes and knots do not fit")
    parts = [np.split(values, ends[:-1]) for values in (knots, below, ties)]
    scalars = [document[name] for name in ("rows", "missing", "skew")]
    return [
        TailReference(
            knots=values,
            below=np.cumsum(steps).astype(np.float64),
            at_most=(np.cumsum(steps) + tied).astype(np.float64),
            rows=int(rows),
            missing=int(missing),
            skew=float(skew),
        )
        for values, steps, tied, rows, missing, skew in zip(*parts, *scalars, strict=True)
    ]


def _references_of_version_1(document: Any) -> list[TailReference]:
    return [
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


def _keys(features: NDArray[np.intp], values: Array) -> NDArray[np.complex128]:
    keys = np.empty(len(values), dtype=np.complex128)
    keys.real = features
    keys.imag = values
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
    return 0.0 - np.log((count + 1.0) / (total + 1.0))  # never -0.0
