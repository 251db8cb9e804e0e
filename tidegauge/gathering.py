"""Reference rows, gone through twice, into what the profile keeps of them, and a bounded sample to fit scores on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegauge.binning import Counts, Edges, count_bins, cut_edges
from tidegauge.blocks import Block, Source, even_blocks, width_of
from tidegauge.correlations import CorrelationTally
from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSpec, Matrix
from tidegauge.reference import FeatureReference
from tidegauge.sampling import EvenSample

Told: TypeAlias = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, in [0, 1]."""

Array: TypeAlias = NDArray[np.float64]

MINIMUM_ROWS: Final = 200
"""That are no known outliers. They carry a false-alarm rate of 0.001 by extrapolation, calibrated by ten folds."""

LARGEST_VALUE: Final = 1e100
"""Of reference data, either side of 0: cubes of values must not overflow. What is larger is some system's sentinel."""

SAMPLE_VALUES: Final = 10_000_000
SAMPLE_ROWS: Final = 1_000_000
"""
Bounds of the sample, whichever is reached first: of 30 features, 333,333 rows. Half of them calibrate a false-alarm
rate of 0.0001, and while they are gathered they take 160 MB at most.
"""

OUTLIER_VALUES: Final = 1_000_000
"""Bound of the sample of known outliers, which only tells how many of them would be flagged."""


@dataclass(frozen=True)
class Gathered:
    """
    rows, outliers: how many, exactly. references: of the features, then of the predictions, from all rows. normal,
    known: (rows, features), sampled, of the rows that are no known outliers and of those that are. correlations: of the
    numeric and boolean features, from all rows.
    """

    rows: int
    outliers: int
    references: tuple[FeatureReference, ...]
    normal: Matrix
    known: Matrix
    correlations: Array


def gather(source: Source, told: Told) -> Gathered:
    """Raises InvalidBaseline when the data cannot make a baseline, naming the feature."""
    survey = _Survey(source)
    for block in even_blocks(source):
        survey.add(block)
        told("reading", block.share)
    sample = survey.sample.rows()
    survey.check(sample)
    edges = survey.edges(sample)
    features = len(source.schema)
    quantities = [at for at, feature in enumerate(source.schema.features) if feature.kind != "categorical"]
    tally = _Tally(edges, survey.means(), quantities)
    for block in even_blocks(source):
        tally.add(block)
        told("counting", block.share)
    return Gathered(
        rows=survey.rows,
        outliers=survey.outliers,
        references=survey.references(tally),
        normal=_unmarked(sample, features),
        known=survey.known.rows(),
        correlations=tally.relations.correlation(),
    )


class _Survey:
    """The first pass: counts, sums and ranges of all rows, and the samples. Arrays are (features + predictions,)."""

    def __init__(self, source: Source) -> None:
        self.features: tuple[FeatureSpec, ...] = source.schema.features
        self._of_model = len(self.features)
        if source.prediction_schema is not None:
            self.features += source.prediction_schema.features
        width = width_of(source)
        self.rows = self.outliers = 0
        self.present = np.zeros(width, dtype=np.int64)
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        # Sums about a first value rather than about 0, so that a large offset costs no digits.
        self._origin, self._sum = np.full(width, np.nan), np.zeros(width)
        # Marks are sampled with their rows: what drift is judged on has outliers in their true share.
        most = max(min(SAMPLE_ROWS, SAMPLE_VALUES // (width + 1)), MINIMUM_ROWS)
        self.sample = EvenSample(width + 1, most)
        self.known = EvenSample(self._of_model, max(OUTLIER_VALUES // self._of_model, 1))

    def add(self, block: Block) -> None:
        columns, marks = block.columns, block.outlier
        assert marks is not None
        missing = np.isnan(columns)
        self.rows += columns.shape[1]
        self.outliers += int(marks.sum())
        self.present += columns.shape[1] - missing.sum(axis=1)
        self.low = np.minimum(self.low, np.fmin.reduce(columns, axis=1, initial=np.inf))
        self.high = np.maximum(self.high, np.fmax.reduce(columns, axis=1, initial=-np.inf))
        self._add_to_sums(columns, missing)
        self.sample.add(np.vstack([columns, marks]))
        if marks.any():
            self.known.add(columns[: self._of_model, marks])

    def _add_to_sums(self, columns: Matrix, missing: NDArray[np.bool_]) -> None:
        first = columns[np.arange(len(columns)), np.argmin(missing, axis=1)]
        self._origin = np.where(np.isnan(self._origin), first, self._origin)
        with np.errstate(invalid="ignore", over="ignore"):  # infinities are refused once all is read
            self._sum += np.where(missing, 0.0, columns - self._origin[:, None]).sum(axis=1)

    def means(self) -> Array:
        return np.where(self.present > 0, self._origin, 0.0) + self._sum / np.maximum(self.present, 1)

    def edges(self, sample: Matrix) -> list[Edges]:
        return [
            cut_edges(feature, sample[:, position], ends=(float(self.low[position]), float(self.high[position])))
            for position, feature in enumerate(self.features)
        ]

    def references(self, tally: _Tally) -> tuple[FeatureReference, ...]:
        """Raises InvalidBaseline when the two passes did not see the same rows."""
        if any(int(counts.sum()) != self.rows for counts in tally.counts):
            raise InvalidBaseline("the data changed while they were read: fit again")
        means, sds = self.means(), np.sqrt(tally.squares / np.maximum(self.present, 1))
        return tuple(
            FeatureReference.of(
                feature,
                rows=self.rows,
                present=int(self.present[position]),
                moments=(float(means[position]), float(sds[position])),
                ends=(float(self.low[position]), float(self.high[position])),
                edges=tally.edges[position],
                counts=tally.counts[position],
            )
            for position, feature in enumerate(self.features)
        )

    def check(self, sample: Matrix) -> None:
        """Raises InvalidBaseline."""
        wild = self._named((self.low < -LARGEST_VALUE) | (self.high > LARGEST_VALUE))
        if wild:
            raise InvalidBaseline(f"infinite values, or beyond {LARGEST_VALUE:g}, in: {wild}; make them missing")
        usable = self.rows - self.outliers
        if usable < MINIMUM_ROWS:
            raise InvalidBaseline(f"{usable} rows that are no known outliers: at least {MINIMUM_ROWS} are needed")
        empty = self._named(self.present == 0)
        if empty:
            raise InvalidBaseline(f"no value at all in: {empty}; exclude them")
        normal = _unmarked(sample, self._of_model)
        if all(np.fmin.reduce(column) >= np.fmax.reduce(column) for column in normal.T if not np.isnan(column).all()):
            raise InvalidBaseline("every column is constant: there is nothing to score")

    def _named(self, chosen: NDArray[np.bool_]) -> str:
        return ", ".join(feature.name for feature, one in zip(self.features, chosen, strict=True) if one)


class _Tally:
    """
    The second pass: how many rows fall in each bin, the squared deviations from the mean, and the correlations of the
    columns at the positions `quantities`.
    """

    def __init__(self, edges: list[Edges], means: Array, quantities: list[int]) -> None:
        self.edges = edges
        self._means = means[:, None]
        self.counts: list[Counts] = [np.zeros(len(inner) + 2, dtype=np.int64) for inner in edges]
        self.squares = np.zeros(len(edges))
        self._quantities = quantities
        self.relations = CorrelationTally(means[quantities])

    def add(self, block: Block) -> None:
        for position, (edges, column) in enumerate(zip(self.edges, block.columns, strict=True)):
            self.counts[position] += count_bins(edges, column)
        deviations = block.columns - self._means
        self.squares += np.where(np.isnan(deviations), 0.0, deviations**2).sum(axis=1)
        self.relations.add(block.columns[self._quantities])


def _unmarked(sample: Matrix, features: int) -> Matrix:
    return np.ascontiguousarray(sample[sample[:, -1] == 0.0, :features])
