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
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from tidegauge.binning import Counts, Edges, count_bins, cut_edges
from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, Matrix
from tidegauge.scoring import DETECTORS, Detector, score_rows
from tidegauge.scoring.calibration import (
    HeldOut,
    Surprise,
    held_out_from_document,
    held_out_to_document,
    surprise_from_document,
    surprise_to_document,
)

VERSION: Final = 1

COMBINED: Final = "combined"
"""Name of the verdict over all detectors of a set, beside the detectors' own names."""

MINIMUM_ROWS: Final = 200
"""Scoring reference: 100 rows to fit on and 100 to calibrate on carry a false-alarm rate of 0.001 by extrapolation."""


LARGEST_VALUE: Final = 1e100
"""Of reference data, either side of 0: cubes of values must not overflow. What is larger is some system's sentinel."""


@dataclass(frozen=True)
class FeatureReference:
    """
    One feature in the drift reference.

    rows, missing: counts. mean, sd (population), low, high: of the values present; None for categories.
    edges, counts: the drift bins (tidegauge.binning) and how many reference rows fell in each, missing last.
    """

    rows: int
    missing: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    edges: Edges
    counts: Counts


@dataclass(frozen=True)
class BaselineProfile:
    schema: FeatureSchema
    rows: int
    """Rows of the drift reference."""
    outliers: int
    """How many of them are known outliers, which the scoring reference leaves out."""
    references: tuple[FeatureReference, ...]
    """One per feature, in schema order."""
    detectors: Mapping[str, Detector]
    surprises: Mapping[str, Surprise]
    """Per detector, from score to surprise on the rows it was fitted on."""
    held_out: Mapping[str, HeldOut]
    """Per detector and for COMBINED over all of them, the surprises of the rows it was not fitted on."""

    @classmethod
    def fit(cls, matrix: Matrix, schema: FeatureSchema, *, outlier: NDArray[np.bool_] | None = None) -> BaselineProfile:
        """
        matrix: float64 (rows, features), NaN = missing. outlier: bool (rows,), True for known outliers.
        Raises InvalidBaseline when the data cannot make a baseline, naming the feature.
        """
        known = np.zeros(len(matrix), dtype=bool) if outlier is None else outlier
        _check_data(matrix, schema, known)
        fitting, calibrating = _halves(matrix[~known])
        detectors = {name: kind.fit(fitting, schema) for name, kind in DETECTORS.items()}
        surprises = {name: Surprise.fit(score_rows(detector, fitting)[0]) for name, detector in detectors.items()}
        held_out = {name: surprises[name](score_rows(detector, calibrating)[0]) for name, detector in detectors.items()}
        held_out[COMBINED] = np.max(list(held_out.values()), axis=0)
        return cls(
            schema=schema,
            rows=len(matrix),
            outliers=int(known.sum()),
            references=tuple(_reference(schema, matrix, position) for position in range(len(schema))),
            detectors=detectors,
            surprises=surprises,
            held_out={name: HeldOut.fit(values) for name, values in held_out.items()},
        )

    @cached_property
    def content_id(self) -> str:
        """SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.dump()).hexdigest()

    def dump(self) -> bytes:
        """The canonical bytes: JSON with sorted keys and shortest exact numbers."""
        return orjson.dumps(self._to_document(), option=orjson.OPT_SORT_KEYS)

    def _to_document(self) -> dict[str, object]:
        return {
            "v": VERSION,
            "schema": self.schema.to_document(),
            "rows": self.rows,
            "outliers": self.outliers,
            "features": [_reference_to_document(reference) for reference in self.references],
            "detectors": {name: detector.to_document() for name, detector in self.detectors.items()},
            "surprises": {name: surprise_to_document(surprise) for name, surprise in self.surprises.items()},
            "held_out": {name: held_out_to_document(held_out) for name, held_out in self.held_out.items()},
        }

    @classmethod
    def load(cls, data: bytes) -> BaselineProfile:
        """Raises InvalidBaseline for anything that dump() did not write."""
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise InvalidBaseline(f"not JSON: {error}") from error
        if not isinstance(document, dict) or document.get("v") != VERSION:
            raise InvalidBaseline(f"not a baseline profile of version {VERSION}")
        try:
            return cls._from_document(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidBaseline(f"damaged profile: {error!r}") from error

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> BaselineProfile:
        schema = FeatureSchema.from_document(document["schema"])
        references = tuple(_reference_from_document(item) for item in document["features"])
        if len(references) != len(schema):
            raise InvalidBaseline(f"damaged profile: {len(references)} references for {len(schema)} features")
        names = set(document["detectors"])
        if not names or names - set(DETECTORS):
            raise InvalidBaseline(f"detectors {', '.join(sorted(names))}; this version has {', '.join(DETECTORS)}")
        if set(document["surprises"]) != names or set(document["held_out"]) != names | {COMBINED}:
            raise InvalidBaseline(f"damaged profile: not every one of {', '.join(sorted(names))} is calibrated")
        return cls(
            schema=schema,
            rows=int(document["rows"]),
            outliers=int(document["outliers"]),
            references=references,
            detectors={
                name: DETECTORS[name].from_document(item, schema) for name, item in document["detectors"].items()
            },
            surprises={name: surprise_from_document(item) for name, item in document["surprises"].items()},
            held_out={name: held_out_from_document(item) for name, item in document["held_out"].items()},
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


def _halves(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """
    Two samples of the same rows' distribution, the same for the same data. The fractional parts of multiples of the
    golden ratio are spread evenly over any stretch and follow no period that a file may have.
    """
    golden = (np.arange(1, len(matrix) + 1) * 0.6180339887498949) % 1.0
    fitting = golden < 0.5
    return matrix[fitting], matrix[~fitting]


def _reference(schema: FeatureSchema, matrix: Matrix, position: int) -> FeatureReference:
    column = matrix[:, position]
    values = column[~np.isnan(column)]
    feature = schema.features[position]
    edges = cut_edges(feature, column)
    quantity = feature.kind != "categorical"
    return FeatureReference(
        rows=len(column),
        missing=len(column) - len(values),
        mean=float(values.mean()) if quantity else None,
        sd=float(values.std()) if quantity else None,
        low=float(values.min()) if quantity else None,
        high=float(values.max()) if quantity else None,
        edges=edges,
        counts=count_bins(edges, column),
    )


def _reference_to_document(reference: FeatureReference) -> dict[str, object]:
    return {
        "rows": reference.rows,
        "missing": reference.missing,
        "mean": reference.mean,
        "sd": reference.sd,
        "low": reference.low,
        "high": reference.high,
        "edges": reference.edges.tolist(),
        "counts": reference.counts.tolist(),
    }


def _reference_from_document(item: dict[str, Any]) -> FeatureReference:
    reference = FeatureReference(
        **{name: item[name] for name in ("rows", "missing", "mean", "sd", "low", "high")},
        edges=np.array(item["edges"], dtype=np.float64),
        counts=np.array(item["counts"], dtype=np.int64),
    )
    if len(reference.counts) != len(reference.edges) + 2 or reference.counts.sum() != reference.rows:
        raise InvalidBaseline("damaged profile: bins do not add up to the rows")
    return reference
