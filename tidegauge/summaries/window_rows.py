"""One window's records and heartbeats, or a matrix of rows, as the summaries take them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.features import Matrix
from tidegauge.records import Heartbeat
from tidegauge.scoring.fitted import COMBINED
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.gathered_records import GatheredRecords
from tidegauge.summaries.predictions import Labels, of_values
from tidegauge.summaries.record_columns import Columns

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Flags:
    """Verdicts on scored rows. weights: of the rows, None where every one is 1."""

    outlier: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    weights: Array | None = None


@dataclass(frozen=True)
class WindowRows:
    """
    matrix: float64 (rows, features) of all records together, in the profile's schema; NaN = missing, and no infinities.
    weights: of the rows, None where every one is 1. infinite: per feature, how many values are missing because they
    were no finite number; records do not say, so theirs are 0. measures: numbers beside the features. combined:
    p-values. predictions: of rows without records, as they were given. The other parts may have fewer rows than the
    matrix, or more: not every row that was logged was scored.
    """

    profile: BaselineProfile
    records: GatheredRecords
    heartbeats: Sequence[Heartbeat]
    matrix: Matrix
    weights: Array | None = None
    infinite: NDArray[np.int64] | None = None
    measures: Sequence[Columns] = ()
    combined: Sequence[Columns] = ()
    labels: Sequence[Labels] = ()
    predictions: object = None
    flags: Flags = field(default_factory=Flags)
    statistics: Statistics = field(default_factory=Statistics)

    @classmethod
    def of(
        cls,
        records: GatheredRecords,
        heartbeats: Sequence[Heartbeat],
        profile: BaselineProfile,
        statistics: Statistics | None = None,
    ) -> WindowRows:
        """Raises ValueError, TypeError or OverflowError for records with something else than numbers among scores."""
        weights = records.weights()
        predictions = records.predictions(weights)
        return cls(
            profile,
            records,
            heartbeats,
            records.matrix(),
            weights=records.row_weights(weights),
            measures=[records.timings(weights), *records.scores(weights), *predictions.numbers],
            combined=records.combined(weights),
            labels=predictions.labels,
            flags=Flags(*records.verdicts(weights)),
            statistics=statistics or Statistics(),
        )

    @classmethod
    def of_matrix(
        cls,
        matrix: Matrix,
        profile: BaselineProfile,
        *,
        predictions: object = None,
        scores: Mapping[str, Sequence[float]] | None = None,
        p_values: Sequence[float] | None = None,
        outlier: Sequence[bool] | NDArray[np.bool_] | None = None,
        weights: Sequence[float] | None = None,
        statistics: Statistics | None = None,
    ) -> WindowRows:
        """One value per row in each; p_values: combined ones. Infinities become missing and are counted."""
        of_rows = None if weights is None else np.asarray(weights, dtype=np.float64)
        read = of_values(predictions, of_rows)
        infinite = np.isinf(matrix)
        named = {f"score.{name}": values for name, values in (scores or {}).items()}
        combined = {} if p_values is None else {COMBINED: p_values}
        return cls(
            profile,
            GatheredRecords(profile),
            [],
            np.where(infinite, np.nan, matrix),
            weights=of_rows,
            infinite=infinite.sum(axis=0),
            measures=[*([Columns.of(named, of_rows)] if named else ()), *read.numbers],
            combined=[Columns.of(combined, of_rows)] if combined else [],
            labels=read.labels,
            predictions=predictions,
            flags=Flags() if outlier is None else Flags(np.asarray(outlier, dtype=bool), of_rows),
            statistics=statistics or Statistics(),
        )

    @cached_property
    def quantities(self) -> list[int]:
        """Positions of the features whose values are numbers and not codes."""
        positions: list[int] = np.flatnonzero(self.profile.schema.quantities).tolist()
        return positions

    @cached_property
    def numbers(self) -> Matrix:
        """Their columns."""
        return self.matrix if self._all_quantities else self.matrix[:, self.quantities]

    @cached_property
    def ordered(self) -> Matrix:
        """(features, rows): each feature's values in increasing order, NaN last."""
        return np.sort(self.matrix.T, axis=1)

    @property
    def ordered_numbers(self) -> Matrix:
        """The same of numbers and not of codes."""
        return self.ordered if self._all_quantities else self.ordered[self.quantities]

    @property
    def _all_quantities(self) -> bool:
        return len(self.quantities) == len(self.profile.schema)
