"""Arrow record batches as a source of reference rows: columns' types become features' kinds, texts become codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from tidegauge.blocks import Block, Flags
from tidegauge.errors import InvalidBaseline
from tidegauge.features import UNSEEN, FeatureSchema, FeatureSpec, Kind, Matrix

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CATEGORIES: Final = 1000


class Tables(Protocol):
    """
    Something that can be read in Arrow record batches, again and again, in the same order. name: for messages.
    """

    @property
    def name(self) -> str: ...

    @property
    def schema(self) -> pa.Schema: ...

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
        """Batches that have these columns, and the share read after each, in [0, 1]. Raises InvalidBaseline."""


class TableSource:
    """See tidegauge.blocks.Source. Texts are read once when it is made, to learn the categories."""

    def __init__(
        self,
        tables: Tables,
        *,
        schema: FeatureSchema | None = None,
        outlier_column: str | None = None,
        prediction_columns: Sequence[str] = (),
        exclude: Sequence[str] = (),
        categorical: Sequence[str] = (),
    ) -> None:
        """
        schema: features to take, by name, with categories already known; by default every column that is not excluded,
        marks no outliers and is no prediction. categorical: columns of whole numbers that are names, such as codes.
        """
        self._tables = tables
        self._outlier_column = outlier_column
        beside = [*prediction_columns, *([outlier_column] if outlier_column else [])]
        given = list(schema.names) if schema else []
        self._check_names([*given, *beside, *exclude, *categorical])
        names = given or [name for name in tables.schema.names if name not in beside and name not in exclude]
        specs = dict(self._learnt([*names, *prediction_columns], set(categorical), schema))
        self.schema = schema or FeatureSchema(tuple(specs[name] for name in names))
        self.prediction_schema: FeatureSchema | None = None
        if prediction_columns:
            self.prediction_schema = FeatureSchema(tuple(specs[name] for name in prediction_columns))
        self._specs = [*self.schema.features, *(specs[name] for name in prediction_columns)]
        self._columns = [*dict.fromkeys([spec.name for spec in self._specs] + beside)]

    def blocks(self) -> Iterator[Block]:
        for batch, share in self._tables.batches(self._columns):
            if not batch.num_rows:
                continue
            columns = np.empty((len(self._specs), batch.num_rows))
            for position, spec in enumerate(self._specs):
                columns[position] = _values(spec, batch.column(spec.name))
            yield Block(columns, self._marks(batch), share)

    def _check_names(self, wanted: Sequence[str]) -> None:
        names = self._tables.schema.names
        repeated = sorted(name for name, times in Counter(names).items() if times > 1)
        if repeated:
            raise InvalidBaseline(f"{self._tables.name} has several columns named {', '.join(repeated)}")
        absent = [name for name in dict.fromkeys(wanted) if name not in names]
        if absent:
            raise InvalidBaseline(f"{self._tables.name} has no column {', '.join(absent)}; it has {', '.join(names)}")

    def _learnt(
        self, names: Sequence[str], categorical: set[str], schema: FeatureSchema | None
    ) -> Iterator[tuple[str, FeatureSpec]]:
        known = {spec.name: spec for spec in schema.features} if schema else {}
        kinds = {name: self._kind(name, name in categorical, known.get(name)) for name in names}
        texts = [name for name, kind in kinds.items() if kind == "categorical" and name not in known]
        categories = self._categories(texts) if texts else {}
        for name, kind in kinds.items():
            yield name, known.get(name) or FeatureSpec(name, kind, tuple(categories.get(name, ())))

    def _kind(self, name: str, categorical: bool, known: FeatureSpec | None) -> Kind:
        kind = _kind_of(self._tables.schema.field(name).type, categorical or (known is not None and bool(known.codes)))
        if kind is None:
            given = self._tables.schema.field(name).type
            what = "has no value at all" if str(given) == "null" else f"is of type {given}, which is no feature"
            raise InvalidBaseline(f"column {name} {what}: exclude it")
        if known is not None and (kind == "categorical") != (known.kind == "categorical"):
            raise InvalidBaseline(f"column {name} is {kind}, the schema says {known.kind}")
        return kind

    def _categories(self, names: Sequence[str]) -> dict[str, list[Any]]:
        from pyarrow import compute

        found: dict[str, set[Any]] = {name: set() for name in names}
        for batch, _ in self._tables.batches(names):
            for name, values in found.items():
                values.update(compute.unique(_plain(batch.column(name))).to_pylist())
                values.discard(None)
                if len(values) > MOST_CATEGORIES:
                    raise InvalidBaseline(
                        f"column {name} has more than {MOST_CATEGORIES} different values, too many for categories: "
                        "exclude it"
                    )
        return {name: sorted(values) for name, values in found.items()}

    def _marks(self, batch: pa.RecordBatch) -> Flags | None:
        if self._outlier_column is None:
            return None
        values = _plain(batch.column(self._outlier_column)).to_numpy(zero_copy_only=False)
        if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
            raise InvalidBaseline(
                f"column {self._outlier_column}: expected only true and false, or 1 and 0, in an outlier column"
            )
        return np.asarray(values, dtype=bool)


def _kind_of(kind: pa.DataType, categorical: bool) -> Kind | None:
    import pyarrow as pa

    types = pa.types
    named = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_string(named) or types.is_large_string(named) or types.is_string_view(named):
        return "categorical"
    if types.is_integer(named) and (categorical or types.is_dictionary(kind)):
        return "categorical"
    if categorical:
        return None
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "numeric"
    return None


def _plain(column: pa.Array) -> pa.Array:
    """Without a dictionary, texts as one type of text."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        # Decoded by hand: Arrow cannot for views, as Polars has them.
        return _plain(column.dictionary).take(column.indices)
    text = pa.types.is_string_view(column.type) or pa.types.is_string(column.type)
    return column.cast(pa.large_string()) if text else column


def _values(spec: FeatureSpec, column: pa.Array) -> Matrix:
    import pyarrow as pa
    from pyarrow import compute

    if spec.kind != "categorical":
        numbers: Matrix = compute.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        if spec.kind == "boolean" and not np.isin(numbers[~np.isnan(numbers)], (0.0, 1.0)).all():
            raise InvalidBaseline(f"column {spec.name}: expected only true and false, or 1 and 0")
        return numbers
    plain = _plain(column)
    codes = compute.index_in(plain, value_set=pa.array(spec.categories, type=plain.type)).to_numpy(zero_copy_only=False)
    codes = np.nan_to_num(np.asarray(codes, dtype=np.float64), nan=UNSEEN)
    codes[plain.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return np.asarray(codes)
