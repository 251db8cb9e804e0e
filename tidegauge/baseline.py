"""
The baseline profile: everything that is known of a model's reference data, as one JSON document.

It serves twice. The *scoring reference*, rows without known outliers, fits the detectors (one half of it) and
calibrates them (the other half). The *drift reference*, all rows, outliers included, is what traffic looks like:
windows are compared with it. No rows are kept, nothing in it is pickled, and the same data give the same bytes, whose
SHA-256 is the content id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, Matrix
from tidegauge.reference import (
    FeatureReference,
    reference_from_document,
    reference_of,
    reference_to_document,
)
from tidegauge.scoring.detector import DetectorKind
from tidegauge.scoring.fitted import FittedScoring

VERSION: Final = 2

READABLE: Final = (1, 2)
"""Version 1 has lists where 2 has packed numbers, and combines its detectors by the maximum."""

MINIMUM_ROWS: Final = 200
"""Scoring reference: 100 rows to fit on and 100 to calibrate on carry a false-alarm rate of 0.001 by extrapolation."""


LARGEST_VALUE: Final = 1e100
"""Of reference data, either side of 0: cubes of values must not overflow. What is larger is some system's sentinel."""


@dataclass(frozen=True)
class BaselineProfile:
    schema: FeatureSchema
    rows: int
    """Rows of the drift reference."""
    outliers: int
    """How many of them are known outliers, which the scoring reference leaves out."""
    references: tuple[FeatureReference, ...]
    """One per feature, in schema order."""
    scoring: FittedScoring
    """The detectors and their calibration, fitted on the rows without known outliers."""
    written: bytes | None = field(default=None, compare=False, repr=False)
    """The canonical bytes that it was loaded from: a profile of an older version keeps them, and its content id."""

    @classmethod
    def fit(cls, matrix: Matrix, schema: FeatureSchema, *, outlier: NDArray[np.bool_] | None = None) -> BaselineProfile:
        """
        matrix: float64 (rows, features), NaN = missing. outlier: bool (rows,), True for known outliers.
        Raises InvalidBaseline when the data cannot make a baseline, naming the feature.
        """
        known = np.zeros(len(matrix), dtype=bool) if outlier is None else outlier
        _check_data(matrix, schema, known)
        return cls(
            schema=schema,
            rows=len(matrix),
            outliers=int(known.sum()),
            references=tuple(reference_of(schema, matrix, position) for position in range(len(schema))),
            scoring=FittedScoring.fit(matrix[~known], schema),
        )

    @cached_property
    def content_id(self) -> str:
        """SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.dump()).hexdigest()

    def dump(self) -> bytes:
        """The canonical bytes: JSON with sorted keys and shortest exact numbers."""
        if self.written is not None:
            return self.written
        return orjson.dumps(self._to_document(), option=orjson.OPT_SORT_KEYS)

    def _to_document(self) -> dict[str, object]:
        return {
            "v": VERSION,
            "schema": self.schema.to_document(),
            "rows": self.rows,
            "outliers": self.outliers,
            "features": [reference_to_document(reference) for reference in self.references],
            **self.scoring.to_document(),
        }

    @classmethod
    def load(cls, data: bytes, *, detectors: Mapping[str, DetectorKind] | None = None) -> BaselineProfile:
        """
        detectors: classes of a user's own, by name (tidegauge.scoring.detector.load_detectors); without them the
        profile's other detectors work. Raises InvalidBaseline for anything that dump() did not write.
        """
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise InvalidBaseline(f"not JSON: {error}") from error
        if not isinstance(document, dict) or document.get("v") not in READABLE:
            raise InvalidBaseline(f"not a baseline profile of version {' or '.join(map(str, READABLE))}")
        try:
            return cls._from_document(document, detectors or {})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidBaseline(f"damaged profile: {error!r}") from error

    @classmethod
    def _from_document(cls, document: dict[str, Any], detectors: Mapping[str, DetectorKind]) -> BaselineProfile:
        schema = FeatureSchema.from_document(document["schema"])
        references = tuple(reference_from_document(item) for item in document["features"])
        if len(references) != len(schema):
            raise InvalidBaseline(f"damaged profile: {len(references)} references for {len(schema)} features")
        return cls(
            schema=schema,
            rows=int(document["rows"]),
            outliers=int(document["outliers"]),
            references=references,
            scoring=FittedScoring.from_document(document, schema, kinds=detectors),
            written=orjson.dumps(document, option=orjson.OPT_SORT_KEYS),
        )


def _check_data(matrix: Matrix, schema: FeatureSchema, known: NDArray[np.bool_]) -> None:
    if matrix.ndim != 2 or matrix.shape[1] != len(schema):
        raise InvalidBaseline(f"data of shape {matrix.shape} for {len(schema)} features")
    if known.shape != (len(matrix),):
        raise InvalidBaseline(f"{known.size} outlier marks for {len(matrix)} rows")
    wild = [name for name, column in zip(schema.names, matrix.T, strict=True) if (np.abs(column) > LARGEST_VALUE).any()]
    if wild:
        raise InvalidBaseline(f"infinite values, or beyond {LARGEST_VALUE:g}, in: {', '.join(wild)}; make them missing")
    usable = int((~known).sum())
    if usable < MINIMUM_ROWS:
        raise InvalidBaseline(f"{usable} rows that are no known outliers: at least {MINIMUM_ROWS} are needed")
    empty = [name for name, column in zip(schema.names, matrix.T, strict=True) if np.isnan(column).all()]
    if empty:
        raise InvalidBaseline(f"no value at all in: {', '.join(empty)}; exclude them")
    if all(np.nanmin(column) == np.nanmax(column) for column in matrix[~known].T if not np.isnan(column).all()):
        raise InvalidBaseline("every column is constant: there is nothing to score")
