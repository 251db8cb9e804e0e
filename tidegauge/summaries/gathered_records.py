"""
The records of one window, column by column.

Takes one record after the other and keeps none of them: a decoded record is dozens of small objects, and to keep ten
thousand of them until they are summarised costs more time, spent on waiting for memory, than to read them.
"""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, Matrix, coerce_rows
from tidegauge.scoring.fitted import COMBINED
from tidegauge.summaries.predictions import Output, Predictions, read_outputs, read_predictions
from tidegauge.summaries.record_columns import Columns, per_row, spread

Array = NDArray[np.float64]

_FIELDS: Final = (
    "time_ms",
    "status",
    "latency_ms",
    "upstream_ms",
    "weight",
    "rows",
    "predictions",
    "scores",
    "outlier",
)
_KEPT: Final = attrgetter(*_FIELDS)
"""What is kept of each record as it is, small as it is beside the features."""


class Record(Protocol):
    """What is taken of a tidegauge.records.InferenceRecord, which says what its fields mean."""

    @property
    def time_ms(self) -> int: ...
    @property
    def replica(self) -> str: ...
    @property
    def incarnation(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def latency_ms(self) -> float: ...
    @property
    def upstream_ms(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def features(self) -> Sequence[Sequence[object]] | None: ...
    @property
    def predictions(self) -> object: ...
    @property
    def scores(self) -> Mapping[str, Sequence[float]]: ...
    @property
    def p_values(self) -> Mapping[str, Sequence[float]]: ...
    @property
    def outlier(self) -> Sequence[bool]: ...
    @property
    def issues(self) -> Mapping[str, int]: ...
    @property
    def weight(self) -> float: ...


class GatheredRecords:
    """
    Once `add` has raised, the columns may be of unequal lengths and are of no use.

    seqs: numbers of the records, by worker: (replica, incarnation). issues: summed.
    """

    def __init__(self, profile: BaselineProfile) -> None:
        self.seqs: dict[tuple[str, str], list[int]] = {}
        self.issues: Counter[str] = Counter()
        self._outputs = () if profile.prediction_schema is None else profile.prediction_schema.names
        self._features = FeatureRows(profile.schema)
        self._kept: list[tuple[Any, ...]] = []
        self._columns: list[Sequence[Any]] = [()] * len(_FIELDS)
        self._combined: list[Sequence[Any]] = []
        self._rows: list[int] = []

    @classmethod
    def of(cls, records: Iterable[Record], profile: BaselineProfile) -> GatheredRecords:
        gathered = cls(profile)
        for record in records:
            gathered.add(record)
        return gathered

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, record: Record) -> None:
        """Raises TypeError, ValueError or AttributeError for a field that has not the form it must have."""
        self._kept.append(_KEPT(record))
        self._combined.append(record.p_values.get(COMBINED, ()))
        if record.issues:
            self.issues.update(record.issues)
        worker = (record.replica, record.incarnation)
        seqs = self.seqs.get(worker)
        if seqs is None:
            seqs = self.seqs[worker] = []
        seqs.append(record.seq)
        features = record.features or ()
        self._features.add(features)
        self._rows.append(len(features))

    def times_ms(self) -> Sequence[int]:
        return self._column("time_ms")

    def statuses(self) -> Sequence[int]:
        return self._column("status")

    def weights(self) -> Array | None:
        """One per record; None where every one is 1."""
        weights = self._column("weight")
        return None if weights.count(1) == len(weights) else np.array(weights, dtype=np.float64)

    def matrix(self) -> Matrix:
        """(rows, features) of all records together; NaN = missing, and no infinities."""
        return self._features.matrix()

    def row_weights(self, weights: Array | None) -> Array | None:
        """weights: of the records. Gives those of the matrix's rows."""
        return spread(weights, self._rows)

    def timings(self, weights: Array | None) -> Columns:
        return Columns.of(
            {"latency_ms": self._column("latency_ms"), "upstream_ms": self._column("upstream_ms")}, weights
        )

    def predictions(self, weights: Array | None) -> Predictions:
        return read_predictions(self._column("predictions"), self._column("rows"), weights)

    def outputs(self, weights: Array | None) -> list[Output]:
        """Those of the baseline, in its order."""
        return read_outputs(self._column("predictions"), self._column("rows"), self._outputs, weights)

    def scores(self, weights: Array | None) -> list[Columns]:
        return per_row("score.", self._column("scores"), weights)

    def combined(self, weights: Array | None) -> list[Columns]:
        """p-values of the detectors together."""
        lengths = list(map(len, self._combined))
        values = list(chain.from_iterable(self._combined))
        return [Columns.of({COMBINED: values}, spread(weights, lengths))] if values else []

    def verdicts(self, weights: Array | None) -> tuple[NDArray[np.bool_], Array | None]:
        """Whether each scored row is an outlier, and the rows' weights."""
        of_records = self._column("outlier")
        outlier = np.array(list(map(bool, chain.from_iterable(of_records))), dtype=bool)
        return outlier, None if weights is None else spread(weights, list(map(len, of_records)))

    def _column(self, name: str) -> Sequence[Any]:
        if len(self._columns[0]) != len(self._kept):
            self._columns = list(zip(*self._kept, strict=True))
        return self._columns[_FIELDS.index(name)]


class FeatureRows:
    """Rows of values as a matrix. Rows of numbers alone, which most are, are copied as they come."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._schema, self._width = schema, len(schema)
        self._numbers = array.array("d")
        self._others: list[object] = []

    def add(self, rows: Sequence[object]) -> None:
        if not self._schema.all_numeric:
            self._others.extend(rows)
            return
        for row in rows:
            if type(row) is not list or len(row) != self._width:
                self._numbers.extend(coerce_rows([row], self._schema).matrix[0])
                continue
            try:
                self._numbers.fromlist(row)
            except (TypeError, OverflowError):  # a missing value, a text, a whole number beyond the range
                self._numbers.extend(coerce_rows([row], self._schema).matrix[0])

    def matrix(self) -> Matrix:
        if not self._schema.all_numeric:
            return coerce_rows(self._others, self._schema).matrix
        matrix = np.array(self._numbers, dtype=np.float64).reshape(-1, self._width)
        matrix[np.isinf(matrix)] = np.nan
        return matrix
