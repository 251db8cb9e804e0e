"""
Squared Mahalanobis distance from the baseline's centre, which sees what no single feature shows: broken correlations.

The features are standardised, then the covariance is shrunk towards a multiple of the identity (Ledoit and Wolf 2004,
"A well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate Analysis 88, section 3), since
shrinkage depends on units otherwise. The fit is robust by concentration steps (Rousseeuw and Van Driessen 1999, "A fast
algorithm for the minimum covariance determinant estimator", Technometrics 41, section 3): the rows farthest from one
fit are left out of the next, so that neither a few wild rows nor a small group of its own widens the ellipsoid that
should show them. A feature that does not vary among the rows that are left has no part in the distance.

With the symmetric inverse square root W of the covariance, the squares of W z are contributions, >= 0, that sum to the
squared distance (Garthwaite and Koch 2016, "Evaluating the contributions of individual variables to a quadratic form").
A missing value stands at its feature's mean and contributes by its neighbours alone. Categories are not part of it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema
from tidegauge.packing import pack, unpack
from tidegauge.rounding import significant, significant_beside
from tidegauge.scoring.detector import (
    Array,
    Missing,
    ReadyReasons,
    ReasonsOfRow,
    ReasonsOfRows,
    scores_of,
    sum_of_row,
    sum_of_rows,
)

TRIMMED_SHARE: Final = 0.25
"""Share of the reference rows, the farthest, that a step leaves out; the paper's choice for data mostly clean."""

STEPS: Final = 3
"""
Not until nothing changes: on data in several dense groups further steps give up one group after the other, and normal
rows of those become outliers (`make bench-detection`).
"""

SMALLEST_VARIANCE: Final = 1e-8
"""
Of the largest in any direction. Perfectly dependent features leave directions without variance: this keeps their
distances finite, and is what rounding the covariance cannot reach.
"""

FARTHEST: Final = 1e100
"""Standard deviations beyond which a value counts as this far, so that no square overflows."""


class MahalanobisDetector:
    """See tidegauge.scoring.detector. Contributions are squared distances, a score is their sum."""

    name: Final = "mahalanobis"

    def __init__(self, schema: FeatureSchema, *, mean: Array, scale: Array, covariance: Array) -> None:
        """mean, scale: per feature; a scale of 0 leaves the feature out. covariance: of the others, standardised."""
        self._mean, self._scale, self._covariance = mean, scale, covariance
        used = np.flatnonzero(scale > 0)
        # Rows and columns of zeros for the features that have no part: the arithmetic needs no cases.
        self._whitening = np.zeros((len(schema), len(schema)))
        self._whitening[np.ix_(used, used)] = _inverse_root(covariance) / scale[used][:, None]
        self._limit = np.minimum(np.where(scale > 0, scale, 1.0), 1e100) * FARTHEST
        # Where the squares of all deviations sum to no more, none is beyond its limit.
        self._certain = min(float(self._limit.min()), 1e150) ** 2 / 2

    @classmethod
    def fit(cls, matrix: Array, schema: FeatureSchema, *, trimmed_share: float = TRIMMED_SHARE) -> MahalanobisDetector:
        """trimmed_share: in [0, 0.5]; 0 fits to all rows at once, which suits data without a single wild row."""
        numeric = np.array([feature.kind != "categorical" for feature in schema.features])
        kept = max(2, round(len(matrix) * (1 - trimmed_share)))
        fitted = cls(schema, **_moments(matrix, numeric))
        for _ in range(STEPS if kept < len(matrix) else 0):
            nearest = np.argsort(scores_of(fitted, matrix), kind="stable")[:kept]
            moments = _moments(matrix[np.sort(nearest)], numeric)
            if not moments["scale"].any():
                break  # rows that are all the same say nothing about the others
            fitted = cls(schema, **moments)
        return fitted

    # einsum and not `@`: it adds feature after feature, while BLAS sums a single row in another order than many, and a
    # row's score must not depend on its company.

    def score_row(self, row: Array, missing: Missing) -> tuple[float, ReasonsOfRow]:
        whitened = np.einsum("j,jk->k", self._bounded(row - self._mean, missing), self._whitening)
        contributions = whitened * whitened
        return sum_of_row(contributions), lambda: contributions

    def scores(self, matrix: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        whitened = np.einsum("nj,jk->nk", self._bounded(matrix - self._mean, missing), self._whitening)
        contributions = whitened * whitened
        return sum_of_rows(contributions), ReadyReasons(contributions)

    def _bounded(self, deviations: Array, missing: Missing) -> Array:
        """In place: 0 where there is no value, and at most the feature's limit to either side."""
        if missing is not None:
            deviations[missing] = 0.0
        if not np.vdot(deviations, deviations) <= self._certain:
            np.clip(deviations, -self._limit, self._limit, out=deviations)
        return deviations

    @cached_property
    def correlation(self) -> Array:
        """(features, features), as fitted: shrunk, of the rows nearest the centre. NaN where a feature has no part."""
        used = np.flatnonzero(self._scale > 0)
        deviations = np.sqrt(np.diagonal(self._covariance))
        correlation = np.full((len(self._scale), len(self._scale)), np.nan)
        correlation[np.ix_(used, used)] = self._covariance / np.outer(deviations, deviations)
        correlation.flags.writeable = False
        return correlation

    def to_document(self) -> dict[str, object]:
        return {
            "mean": self._mean.tolist(),
            "scale": self._scale.tolist(),
            "covariance": pack(self._covariance[np.tril_indices(len(self._covariance))]),
        }

    @classmethod
    def from_document(cls, document: Any, schema: FeatureSchema) -> MahalanobisDetector:
        """Raises InvalidBaseline."""
        try:
            mean, scale = (np.array(document[name], dtype=np.float64) for name in ("mean", "scale"))
            if mean.shape != (len(schema),) or scale.shape != mean.shape:
                raise ValueError("shapes do not fit the schema")
            covariance = _covariance(document["covariance"], int((scale > 0).sum()))
            return cls(schema, mean=mean, scale=scale, covariance=covariance)
        except (KeyError, TypeError, ValueError, np.linalg.LinAlgError) as error:
            raise InvalidBaseline(f"detectors.mahalanobis: {error!r}") from error


def _covariance(document: object, features: int) -> Array:
    """From its lower triangle, row after row. Profiles of version 1 have all of it, as a list of rows."""
    if isinstance(document, list) and all(isinstance(row, list) for row in document):
        return np.array(document, dtype=np.float64).reshape(features, features)
    covariance = np.zeros((features, features))
    covariance[np.tril_indices(features)] = unpack(document, np.float64)
    return covariance + np.tril(covariance, -1).T


def _moments(matrix: Array, numeric: NDArray[np.bool_]) -> dict[str, Array]:
    """Rounded, so that another processor's linear algebra gives the same."""
    present = ~np.isnan(matrix)
    counts = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, matrix, 0.0).sum(axis=0) / counts
    deviations = np.where(present, matrix - mean, 0.0)
    scale = np.sqrt((deviations**2).sum(axis=0) / counts)
    # A spread within rounding of the mean is a constant's.
    scale[~numeric | (scale <= 1e-12 * np.abs(mean))] = 0.0
    used = scale > 0
    covariance = shrunk_covariance(deviations[:, used] / scale[used])
    return {
        "mean": significant_beside(mean, scale),
        "scale": significant(scale),
        "covariance": np.round(covariance, 10),
    }


def shrunk_covariance(centred: Array) -> Array:
    """Ledoit-Wolf covariance of centred rows (n, d): (1 - s) S + s mu I, the shrinkage s estimated from the rows."""
    n, d = centred.shape
    if d == 0 or n == 0:
        return np.zeros((d, d))
    sample = centred.T @ centred / n
    target = np.trace(sample) / d
    squares = centred**2
    spread = ((squares.T @ squares).sum() / n - (sample**2).sum()) / n
    distance = (sample**2).sum() - d * target**2
    shrinkage = 1.0 if distance <= 0 else float(np.clip(spread / distance, 0.0, 1.0))
    shrunk: Array = (1 - shrinkage) * sample + shrinkage * target * np.eye(d)
    return shrunk


def _inverse_root(covariance: Array) -> Array:
    if covariance.size == 0:
        return covariance.reshape(0, 0)
    values, vectors = np.linalg.eigh(covariance)
    floor = max(float(values[-1]), 1.0) * SMALLEST_VARIANCE
    root: Array = (vectors / np.sqrt(np.maximum(values, floor))) @ vectors.T
    return root
