"""
The model's input features: their names, kinds and order, and request values turned into one matrix.

A matrix is float64 of shape (rows, features). NaN means missing. A boolean is 0.0 or 1.0; a category is its index in
`FeatureSpec.categories`, and UNSEEN for one that the baseline does not know. What could not be used as it came is
missing in the matrix and counted by kind, never silently zero.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any, Final, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from tidegauge.errors import InvalidBaseline

Kind = Literal["numeric", "categorical", "boolean"]
Matrix = NDArray[np.float64]

KINDS: Final[tuple[Kind, ...]] = ("numeric", "categorical", "boolean")

UNSEEN: Final = -1.0
"""Code of a category that is not in the baseline."""

UNSEEN_NAME: Final = "<unseen>"
"""What a record says for it, so that it is not taken for a missing value downstream; no category may have this name."""

ISSUES: Final = (
    "wrong_width",  # a row has more or fewer values than the schema: the whole row is missing
    "wrong_type",  # a value has no meaning for its feature's kind
    "non_finite",  # NaN or an infinity where a number was expected
    "unseen_category",
    "unknown_feature",  # a named row or column that the schema does not have
    "missing_feature",  # a named row or column lacks a feature of the schema
    "missing_value",  # null
    "not_rows",  # the payload is no list of rows
)
"""Every kind of issue that coercion can count, for metric labels."""


@dataclass(frozen=True)
class FeatureSpec:
    name: str
    kind: Kind = "numeric"
    categories: tuple[str | int, ...] = ()
    """Known categories in the order of their codes; empty unless `kind` is categorical."""

    def __post_init__(self) -> None:
        if len(set(self.categories)) < len(self.categories) or UNSEEN_NAME in self.categories:
            raise InvalidBaseline(f"feature {self.name}: categories must differ, and none may be {UNSEEN_NAME!r}")

    @cached_property
    def codes(self) -> dict[object, float]:
        return {category: float(code) for code, category in enumerate(self.categories)}


@dataclass(frozen=True)
class FeatureSchema:
    features: tuple[FeatureSpec, ...]

    def __post_init__(self) -> None:
        if not self.features:
            raise InvalidBaseline("a schema needs at least one feature")
        repeated = [name for name, times in Counter(self.names).items() if times > 1]
        if repeated:
            raise InvalidBaseline(f"feature names must differ, repeated: {', '.join(sorted(repeated))}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def index(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    @cached_property
    def all_numeric(self) -> bool:
        return all(feature.kind == "numeric" for feature in self.features)

    @cached_property
    def quantities(self) -> NDArray[np.bool_]:
        """(features,): those whose values are numbers and not codes."""
        return np.array([feature.kind != "categorical" for feature in self.features])

    @cached_property
    def schema_hash(self) -> str:
        """SHA-256 over names, kinds and categories in order; two schemas with the same hash take the same rows."""
        return hashlib.sha256(orjson.dumps(self.to_document())).hexdigest()

    def __len__(self) -> int:
        return len(self.features)

    def to_document(self) -> list[dict[str, object]]:
        return [
            {"name": f.name, "kind": f.kind} | ({"categories": list(f.categories)} if f.kind == "categorical" else {})
            for f in self.features
        ]

    @classmethod
    def from_document(cls, document: object) -> FeatureSchema:
        """Raises InvalidBaseline."""
        if not isinstance(document, list):
            raise InvalidBaseline("schema: expected a list of features")
        return cls(tuple(_feature_from_document(position, item) for position, item in enumerate(document)))

    def decode_rows(self, matrix: Matrix) -> list[list[object]]:
        """Values as a record carries them: numbers, booleans, category names or UNSEEN_NAME; None = missing."""
        if self.all_numeric:
            rows: list[list[Any]] = matrix.tolist()
            if math.isnan(_sum_of_rows(rows)):
                for row, column in zip(*np.nonzero(np.isnan(matrix)), strict=True):
                    rows[row][column] = None
            return rows
        return [[_decode(f, value) for f, value in zip(self.features, row, strict=True)] for row in matrix.tolist()]


@dataclass(frozen=True, slots=True)
class CoercedRows:
    """matrix: float64 (rows, features). issues: how many values (or rows) had which of ISSUES."""

    matrix: Matrix
    issues: dict[str, int] = field(default_factory=dict)


def coerce_rows(rows: object, schema: FeatureSchema) -> CoercedRows:
    """
    Rows of a request or a record as a matrix; never raises.

    Takes a sequence of rows, each a sequence of values in schema order or a mapping from feature name to value. One row
    in gives one row out, so scores line up with predictions, whatever was wrong with it.
    """
    block = numeric_rows(rows, schema)
    if block is not None:
        return CoercedRows(block)
    if isinstance(rows, np.ndarray):
        rows = rows.tolist()
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Sequence):
        return CoercedRows(np.empty((0, len(schema))), {"not_rows": 1})
    issues: Counter[str] = Counter()
    matrix = np.full((len(rows), len(schema)), math.nan)
    for position, row in enumerate(rows):
        _coerce_row(row, schema, matrix[position], issues)
    return CoercedRows(matrix, dict(issues))


def coerce_columns(columns: Mapping[str, Sequence[object] | NDArray[Any]], schema: FeatureSchema) -> CoercedRows:
    """Named columns as a matrix; never raises. A short column is missing at its end and counted as wrong_width."""
    issues: Counter[str] = Counter()
    rows = max((len(values) for values in columns.values()), default=0)
    matrix = np.full((rows, len(schema)), math.nan)
    issues["unknown_feature"] += sum(name not in schema.index for name in columns)
    for position, feature in enumerate(schema.features):
        values = columns.get(feature.name)
        if values is None:
            issues["missing_feature"] += 1
            continue
        issues["wrong_width"] += len(values) != rows
        matrix[: len(values), position] = _coerce_column(feature, values, issues)
    return CoercedRows(matrix, {kind: count for kind, count in issues.items() if count})


def numeric_rows(rows: object, schema: FeatureSchema) -> Matrix | None:
    """What `coerce_rows` makes of rows that are all numbers and complete, in one numpy call; None for anything else."""
    if not schema.all_numeric:
        return None
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        rows = _in_order(rows, schema)
    block = _finite(rows, _sum_of_rows)
    if block is None or block.ndim != 2 or block.shape[1] != len(schema):
        return None
    return block


def _sum_of_rows(rows: Any) -> float:
    return sum(map(sum, rows))


def _in_order(rows: list[Any], schema: FeatureSchema) -> list[Any] | None:
    """Named rows as lists in schema order; None unless each has exactly the schema's features."""
    values_of = itemgetter(*schema.names) if len(schema) > 1 else lambda row: (row[schema.names[0]],)
    try:
        return [values_of(row) for row in rows] if all(len(row) == len(schema) for row in rows) else None
    except (KeyError, TypeError):
        return None


def _finite(values: Any, total: Callable[[Any], float]) -> Matrix | None:
    """
    As float64; None unless all of them are finite numbers in equal rows. total: their sum, which fails for anything but
    numbers, where numpy would read numbers in texts, and make all texts as long as the longest.
    """
    try:
        if isinstance(values, np.ndarray):
            block = values.astype(np.float64, copy=False) if values.dtype.kind in "iuf" else None
            return block if block is not None and np.isfinite(block).all() else None
        finite = math.isfinite(total(values))  # no sum with an infinity or a NaN in it is
        block = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return block if finite or np.isfinite(block).all() else None


def _coerce_column(
    feature: FeatureSpec, values: Sequence[object] | NDArray[Any], issues: Counter[str]
) -> Matrix | list[float]:
    if feature.kind == "numeric":
        column = _finite(values, sum)
        if column is not None and column.ndim == 1:
            return column
    if isinstance(values, np.ndarray):
        values = values.tolist()
    return [_coerce_value(feature, value, issues) for value in values]


def _coerce_row(row: object, schema: FeatureSchema, out: Matrix, issues: Counter[str]) -> None:
    if isinstance(row, Mapping):
        issues.update("unknown_feature" for name in row if name not in schema.index)
        for position, feature in enumerate(schema.features):
            if feature.name in row:
                out[position] = _coerce_value(feature, row[feature.name], issues)
            else:
                issues["missing_feature"] += 1
        return
    if isinstance(row, np.ndarray):
        row = row.tolist()
    if isinstance(row, (str, bytes)) or not isinstance(row, Sequence) or len(row) != len(schema):
        issues["wrong_width"] += 1
        return
    for position, feature in enumerate(schema.features):
        out[position] = _coerce_value(feature, row[position], issues)


def _coerce_value(feature: FeatureSpec, value: object, issues: Counter[str]) -> float:
    if value is None:
        issues["missing_value"] += 1
        return math.nan
    if isinstance(value, np.generic):
        value = value.item()
    if feature.kind == "categorical":
        return _coerce_category(feature, value, issues)
    if not isinstance(value, (bool, int, float)):
        issues["wrong_type"] += 1
        return math.nan
    number = _float(value)
    if not math.isfinite(number):
        issues["non_finite"] += 1
        return math.nan
    if feature.kind == "boolean" and number not in (0.0, 1.0):
        issues["wrong_type"] += 1
        return math.nan
    return number


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond the range
        return math.inf


def _coerce_category(feature: FeatureSpec, value: object, issues: Counter[str]) -> float:
    """A tensor of rows has one type for all features, so whole numbers among categories may come as floats."""
    if isinstance(value, float) and not value.is_integer():
        issues["wrong_type" if math.isfinite(value) else "non_finite"] += 1
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        issues["wrong_type"] += 1
        return math.nan
    code = feature.codes.get(value)
    if code is None:
        issues["unseen_category"] += 1
        return UNSEEN
    return code


def _decode(feature: FeatureSpec, value: float) -> object:
    if math.isnan(value):
        return None
    if feature.kind == "categorical":
        return feature.categories[int(value)] if value >= 0 else UNSEEN_NAME
    return bool(value) if feature.kind == "boolean" else value


def _feature_from_document(position: int, item: object) -> FeatureSpec:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or item.get("kind") not in KINDS:
        raise InvalidBaseline(f"schema[{position}]: expected {{name, kind: {' | '.join(KINDS)}}}")
    categories = item.get("categories", [])
    if not isinstance(categories, list) or not all(type(category) in (str, int) for category in categories):
        raise InvalidBaseline(f"schema[{position}]: expected categories as a list of texts or whole numbers")
    return FeatureSpec(item["name"], item["kind"], tuple(categories))
