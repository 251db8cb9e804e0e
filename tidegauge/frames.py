"""
Frames, tables and matrices as a source of reference rows.

Whatever speaks the Arrow stream protocol (pandas, Polars, PyArrow and others), a mapping from names to columns, or a
numpy matrix. PyArrow is imported when there is a table to read, and never by scoring.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegauge.blocks import Accompanied, MatrixSource, Source
from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, FeatureSpec, coerce_rows
from tidegauge.tables import TableSource

if TYPE_CHECKING:
    import pyarrow as pa

Names: TypeAlias = Sequence[str]

NEEDS_EXTRA = "reading tables needs the extra `fit`: pip install 'tidegauge[fit]'"

FEW_ROWS = 1 << 16


def as_source(
    data: object,
    schema: FeatureSchema | None = None,
    *,
    outlier: NDArray[np.bool_] | str | None = None,
    predictions: NDArray[Any] | Names | str | None = None,
    exclude: Names = (),
    categorical: Names = (),
) -> Source:
    """See BaselineProfile.fit. Raises InvalidBaseline."""
    named = [predictions] if isinstance(predictions, str) else predictions
    beside = named if isinstance(named, np.ndarray) else None
    names = tuple(named or ()) if beside is None else ()
    marks = None if outlier is None or isinstance(outlier, str) else np.asarray(outlier)
    mark_name = outlier if isinstance(outlier, str) else None
    if isinstance(data, np.ndarray):
        if names or mark_name or exclude or categorical:
            raise InvalidBaseline("a matrix has no column names: give outlier and predictions as arrays, and a schema")
        source, rows = _matrix_source(data, schema), len(data)
    elif _is_source(data):
        if (
            schema is not None
            or names
            or mark_name
            or exclude
            or categorical
            or beside is not None
            or marks is not None
        ):
            raise InvalidBaseline("a source has a schema and marks of its own: give it alone")
        return data  # type: ignore[return-value]
    else:
        table = _as_table(data)
        rows = table.num_rows
        source = TableSource(
            _InMemory(table),
            schema=schema,
            outlier_column=mark_name,
            prediction_columns=names,
            exclude=exclude,
            categorical=categorical,
        )
    return _accompanied(source, rows, marks, beside)


def _is_source(data: object) -> bool:
    return all(hasattr(data, name) for name in ("blocks", "schema", "prediction_schema"))


def _matrix_source(matrix: NDArray[Any], schema: FeatureSchema | None) -> Source:
    if matrix.dtype.kind not in "biuf":
        raise InvalidBaseline(
            f"a matrix of {matrix.dtype}: give numbers, or a frame where columns have names and kinds"
        )
    if schema is None:
        width = matrix.shape[1] if matrix.ndim == 2 else 0
        schema = FeatureSchema(tuple(FeatureSpec(f"f{position}") for position in range(width)))
    return MatrixSource(matrix, schema)


def _accompanied(source: Source, rows: int, marks: NDArray[Any] | None, predictions: NDArray[Any] | None) -> Source:
    if marks is None and predictions is None:
        return source
    if marks is not None:
        if marks.shape != (rows,):
            raise InvalidBaseline(f"{marks.size} outlier marks for {rows} rows")
        if not np.isin(marks, (0, 1)).all():
            raise InvalidBaseline("outlier marks: expected only true and false, or 1 and 0")
        marks = marks.astype(bool)
    schema = source.prediction_schema
    if predictions is not None:
        predictions = predictions[:, None] if predictions.ndim == 1 else predictions
        if predictions.ndim != 2 or len(predictions) != rows or not predictions.shape[1]:
            raise InvalidBaseline(f"predictions of shape {predictions.shape} for {rows} rows")
        outputs = predictions.shape[1]
        names = ["prediction"] if outputs == 1 else [f"prediction_{output}" for output in range(outputs)]
        schema = FeatureSchema(tuple(map(_output, names, predictions.T)))
        numeric = predictions.dtype.kind in "iuf"
        predictions = predictions.astype(np.float64) if numeric else coerce_rows(predictions, schema).matrix
    return Accompanied(source, marks, predictions, schema)


def _output(name: str, column: NDArray[Any]) -> FeatureSpec:
    """Of true and false, of numbers, or else of texts, which are classes; None among them is missing."""
    if column.dtype.kind in "iuf":
        return FeatureSpec(name)
    present = [value for value in column.tolist() if value is not None]
    if all(isinstance(value, bool) for value in present):
        return FeatureSpec(name, "boolean")
    if all(isinstance(value, (int, float)) for value in present):
        return FeatureSpec(name)
    if not all(isinstance(value, str) for value in present):
        raise InvalidBaseline(f"{name}: expected only numbers, only texts, or only true and false")
    return FeatureSpec(name, "categorical", tuple(sorted(set(present))))


@dataclass(frozen=True)
class _InMemory:
    """See tidegauge.tables.Tables."""

    table: pa.Table
    name: str = "the frame"

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def batches(self, columns: Names) -> Iterator[tuple[pa.RecordBatch, float]]:
        read = 0
        for batch in self.table.select(list(columns)).to_batches(max_chunksize=FEW_ROWS):
            read += batch.num_rows
            yield batch, read / self.table.num_rows


def _as_table(data: object) -> pa.Table:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise InvalidBaseline(NEEDS_EXTRA) from error
    try:
        if isinstance(data, pa.Table):
            return data
        if type(data).__module__.partition(".")[0] == "pandas":
            # Its own stream would have the index as one more column.
            return pa.Table.from_pandas(data, preserve_index=False)
        if hasattr(data, "__arrow_c_stream__"):
            return pa.table(data)
        if isinstance(data, Mapping):
            return pa.table({str(name): pa.array(column, from_pandas=True) for name, column in data.items()})
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidBaseline(f"the frame cannot be read: {' '.join(str(error).split())}") from error
    raise InvalidBaseline(
        f"cannot read {type(data).__name__}: expected a frame (pandas, Polars, PyArrow), a mapping from names to "
        "columns, or a numpy matrix"
    )
