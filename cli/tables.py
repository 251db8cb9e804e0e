"""CSV and Parquet files as a feature schema and a matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix, coerce_columns

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CATEGORIES: Final = 1000


@dataclass(frozen=True)
class ReferenceData:
    """matrix: float64 (rows, features), NaN = missing. outlier: bool (rows,), None when no column says."""

    schema: FeatureSchema
    matrix: Matrix
    outlier: NDArray[np.bool_] | None


def read_reference(path: Path, *, outlier_column: str | None, exclude: Sequence[str]) -> ReferenceData:
    """Raises InvalidBaseline naming the file or the column."""
    table = _read_table(path)
    absent = [
        name for name in [*exclude, *([outlier_column] if outlier_column else [])] if name not in table.column_names
    ]
    if absent:
        raise InvalidBaseline(f"{path} has no column {', '.join(absent)}; it has {', '.join(table.column_names)}")
    names = [name for name in table.column_names if name not in exclude and name != outlier_column]
    schema = FeatureSchema(tuple(_spec(name, table.column(name)) for name in names))
    outlier = _flags(table.column(outlier_column), outlier_column) if outlier_column else None
    return ReferenceData(schema, _matrix(table, schema), outlier)


def _read_table(path: Path) -> pa.Table:
    try:
        import pyarrow as pa
        from pyarrow import csv, parquet
    except ImportError as error:
        raise InvalidBaseline("fitting needs the extra `fit`: pip install 'tidegauge[fit]'") from error
    if not path.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise InvalidBaseline(f"{path}: expected a .csv, .csv.gz or .parquet file")
    if not path.is_file():
        raise InvalidBaseline(f"{path}: no such file")
    try:
        table = parquet.read_table(path) if path.suffix == ".parquet" else csv.read_csv(path)
    except (pa.ArrowException, OSError) as error:
        raise InvalidBaseline(f"{path}: {str(error).splitlines()[0]}") from error
    repeated = sorted(name for name, times in Counter(table.column_names).items() if times > 1)
    if repeated:
        raise InvalidBaseline(f"{path} has several columns named {', '.join(repeated)}")
    return table


def _spec(name: str, column: pa.ChunkedArray) -> FeatureSpec:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_boolean(kind):
        return FeatureSpec(name, "boolean")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return FeatureSpec(name)
    named = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(named) or pa.types.is_large_string(named):
        categories = sorted(value for value in column.unique().to_pylist() if value is not None)
        if len(categories) > MOST_CATEGORIES:
            raise InvalidBaseline(
                f"column {name} has {len(categories)} different texts, more than {MOST_CATEGORIES}: --exclude {name}"
            )
        return FeatureSpec(name, "categorical", tuple(categories))
    raise InvalidBaseline(f"column {name} is of type {kind}, which is no feature: --exclude {name}")


def _matrix(table: pa.Table, schema: FeatureSchema) -> Matrix:
    import pyarrow as pa
    from pyarrow import compute

    matrix = np.empty((table.num_rows, len(schema)))
    for position, feature in enumerate(schema.features):
        column = table.column(feature.name)
        if feature.kind == "categorical":
            single = FeatureSchema((feature,))
            matrix[:, position] = coerce_columns({feature.name: column.to_pylist()}, single).matrix[:, 0]
        else:
            matrix[:, position] = compute.cast(column, pa.float64(), safe=False).to_numpy()
    return matrix


def _flags(column: pa.ChunkedArray, name: str) -> NDArray[np.bool_]:
    values = column.to_pylist()
    if any(value not in (0, 1, True, False) for value in values):
        raise InvalidBaseline(f"column {name}: expected only true and false, or 1 and 0, in an outlier column")
    return np.array(values, dtype=bool)
