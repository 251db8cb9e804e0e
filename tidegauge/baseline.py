"""
The baseline profile: everything that is known of a model's reference data, as one JSON document.

It serves twice. The *scoring reference*, rows without known outliers, fits the detectors (one half of it) and
calibrates them (the other half). The *drift reference*, all rows, outliers included, is what traffic looks like:
windows are compared with it. No rows are kept, nothing in it is pickled, and the same data give the same bytes, whose
SHA-256 is the content id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from tidegauge.correlations import correlations_from_text, correlations_to_text
from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema
from tidegauge.frames import as_source
from tidegauge.gathering import Told, gather
from tidegauge.reference import FeatureReference, reference_from_document, reference_to_document
from tidegauge.scoring import DETECTORS
from tidegauge.scoring.detector import DetectorKind
from tidegauge.scoring.fitted import FittedScoring

VERSION: Final = 2

READABLE: Final = (1, 2)
"""Version 1 has lists where 2 has packed numbers, and combines its detectors by the maximum."""


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
    prediction_schema: FeatureSchema | None = None
    """Of the model's outputs; None where the reference data had none."""
    predictions: tuple[FeatureReference, ...] = ()
    """One per output, in the order of prediction_schema."""
    correlations: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)
    """
    Of all rows, known outliers included, between the numeric and boolean features in schema order; NaN where one of the
    two does not vary. None in profiles fitted before they were kept.
    """
    written: bytes | None = field(default=None, compare=False, repr=False)
    """The canonical bytes that it was loaded from: a profile of an older version keeps them, and its content id."""

    @classmethod
    def fit(
        cls,
        data: object,
        schema: FeatureSchema | None = None,
        *,
        outlier: NDArray[np.bool_] | str | None = None,
        predictions: NDArray[Any] | Sequence[str] | str | None = None,
        exclude: Sequence[str] = (),
        categorical: Sequence[str] = (),
        detectors: Sequence[str] | Mapping[str, DetectorKind] | None = None,
        contamination: float = 0.0,
        progress: Told | None = None,
    ) -> BaselineProfile:
        """
        data: a frame (pandas, Polars, PyArrow, anything with `__arrow_c_stream__`), a mapping from names to columns, a
        float64 matrix (rows, features) in which NaN is missing and categories are codes, or a tidegauge.blocks.Source.
        Memory does not grow with its rows: it is gone through several times.

        schema: by default what the columns say: numbers are numeric, true and false boolean, texts categorical; a
        matrix has features f0, f1 ... Of a frame, a schema takes the columns it names, in its order.
        outlier: bool (rows,), or the name of a column: True for known outliers, which stay in what windows are compared
        with and are left out of what scores are fitted on.
        predictions: the model's outputs for the same rows, (rows,) or (rows, outputs) of numbers, texts (classes) or
        true and false; or names of columns.
        exclude: names of columns that are no features. categorical: of columns of whole numbers that are names.
        detectors: names of the built-in ones, or classes by name; all built-in ones by default.
        contamination: share of the rows, in [0, 0.5), presumed to be outliers that nobody marked; scores are fitted
        without the rows that look most like it.
        progress: called with what is being done and the share of it that is done.

        Raises InvalidBaseline when the data cannot make a baseline, naming the column. What makes only a weak one is
        said by tidegauge.concerns.
        """
        if not 0.0 <= contamination < 0.5:
            raise InvalidBaseline(f"contamination {contamination:g}: expected a share from 0 to below 0.5")
        told = progress or (lambda _what, _share: None)
        source = as_source(
            data, schema, outlier=outlier, predictions=predictions, exclude=exclude, categorical=categorical
        )
        gathered = gather(source, told)
        features = len(source.schema)
        return cls(
            schema=source.schema,
            rows=gathered.rows,
            outliers=gathered.outliers,
            references=gathered.references[:features],
            scoring=FittedScoring.fit(
                gathered.normal,
                source.schema,
                detectors=_kinds(detectors),
                contamination=contamination,
                known_outliers=gathered.known,
                progress=told,
            ),
            prediction_schema=source.prediction_schema,
            predictions=gathered.references[features:],
            correlations=gathered.correlations,
        )

    @cached_property
    def centre_and_scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Per feature: mean and standard deviation of numeric ones, 0 and 1 where there is none and of all others."""
        known = [
            (reference.mean or 0.0, reference.sd or 1.0) if feature.kind == "numeric" else (0.0, 1.0)
            for feature, reference in zip(self.schema.features, self.references, strict=True)
        ]
        centre, scale = np.array(known, dtype=np.float64).reshape(-1, 2).T
        return centre, scale

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
            "prediction_schema": None if self.prediction_schema is None else self.prediction_schema.to_document(),
            "predictions": [reference_to_document(reference) for reference in self.predictions],
            "correlations": None if self.correlations is None else correlations_to_text(self.correlations),
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
        outputs = document.get("prediction_schema")
        prediction_schema = None if outputs is None else FeatureSchema.from_document(outputs)
        return cls(
            schema=schema,
            rows=int(document["rows"]),
            outliers=int(document["outliers"]),
            references=_references(document["features"], schema),
            scoring=FittedScoring.from_document(document, schema, kinds=detectors),
            prediction_schema=prediction_schema,
            predictions=_references(document.get("predictions", []), prediction_schema or ()),
            correlations=_correlations(document.get("correlations"), schema),
            written=orjson.dumps(document, option=orjson.OPT_SORT_KEYS),
        )


def _references(items: list[Any], schema: Sized) -> tuple[FeatureReference, ...]:
    if len(items) != len(schema):
        raise InvalidBaseline(f"damaged profile: {len(items)} references for {len(schema)} features")
    return tuple(reference_from_document(item) for item in items)


def _correlations(text: object, schema: FeatureSchema) -> NDArray[np.float64] | None:
    quantities = sum(feature.kind != "categorical" for feature in schema.features)
    return None if text is None else correlations_from_text(text, quantities)


def _kinds(detectors: Sequence[str] | Mapping[str, DetectorKind] | None) -> Mapping[str, DetectorKind] | None:
    if detectors is None or isinstance(detectors, Mapping):
        return detectors
    unknown = [name for name in detectors if name not in DETECTORS]
    if unknown or not detectors:
        raise InvalidBaseline(f"no detector {', '.join(unknown) or 'at all'}; there are {', '.join(DETECTORS)}")
    return {name: DETECTORS[name] for name in detectors}
