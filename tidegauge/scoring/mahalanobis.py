"""
Squared Mahalanobis distance from the baseline's centre, which sees what no single feature shows: broken correlations.

The features are standardised, then the covariance is shrunk towards a multiple of the identity (Ledoit and Wolf 2004,
"A well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate Analysis 88, section 3), since
shrinkage depends on units otherwise. Fitted twice: the rows farthest from the first fit are left out of the second, so
that a few wild rows do not widen the ellipsoid that should show them.

With the symmetric inverse square root W of the covariance, the squares of W z are contributions, >= 0, that sum to the
squared distance (Garthwaite and Koch 2016, "Evaluating the contributions of individual variables to a quadratic form").
A missing value stands at its feature's mean and contributes by its neighbours alone. Categories are not part of it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema
from tidegauge.scoring.detector import Array, Missing, ReasonsOfRow, ReasonsOfRows, sum_of_row, sum_of_rows

TRIMMED_SHARE: Final = 0.1
"""Share of the reference rows, the farthest, that the second fit leaves out."""


FARTHEST: Final = 1e100
"""Standard deviations beyond which a value counts as this far, so that no square overflows."""

_QUIETLY: Final = np.errstate(over="ignore", invalid="ignore")

WILD: Final = 1e150
"""Squared distances from here on, and overflows, are computed again with bounded deviations."""


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

    @classmethod
    def fit(cls, matrix: Array, schema: FeatureSchema) -> MahalanobisDetector:
        numeric = np.array([feature.kind != "categorical" for feature in schema.features])
        first = cls(schema, **_moments(matrix, numeric))
        columns = np.ascontiguousarray(matrix.T)
        distances, _ = first.scores(columns, np.isnan(columns))
        kept = np.argsort(distances, kind="stable")[: max(2, round(len(matrix) * (1 - TRIMMED_SHARE)))]
        return cls(schema, **_moments(matrix[np.sort(kept)], numeric))

    # einsum and not `@`: it adds feature after feature, while BLAS sums a single row in another order than many, and a
    # row's score must not depend on its company.

    @_QUIETLY
    def score_row(self, row: Array, missing: Missing) -> tuple[float, ReasonsOfRow]:
        deviations = row - self._mean
        if missing is not None:
            deviations[missing] = 0.0
        contributions = self._contributions_of_row(deviations)
        score = sum_of_row(contributions)
        if not score < WILD:
            contributions = self._contributions_of_row(_bounded(deviations, self._limit))
            score = sum_of_row(contributions)
        return score, lambda: contributions

    @_QUIETLY
    def scores(self, columns: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        deviations = columns - self._mean[:, None]
        if missing is not None:
            deviations[missing] = 0.0
        contributions = self._contributions(deviations)
        scores = sum_of_rows(contributions)
        wild = () if scores.dot(scores) < WILD else np.flatnonzero(~(scores < WILD))
        for row in wild:
            contributions[:, row] = self._contributions_of_row(_bounded(deviations[:, row], self._limit))
            scores[row] = sum_of_row(contributions[:, row])
        return scores, lambda rows: contributions.take(rows, axis=1)

    def _contributions_of_row(self, deviations: Array) -> Array:
        whitened = np.einsum("j,jk->k", deviations, self._whitening)
        return np.asarray(whitened * whitened)

    def _contributions(self, deviations: Array) -> Array:
        whitened = np.einsum("jn,jk->nk", deviations, self._whitening)
        return np.ascontiguousarray((whitened * whitened).T)

    def to_document(self) -> dict[str, object]:
        return {
            "mean": self._mean.tolist(),
            "scale": self._scale.tolist(),
            "covariance": self._covariance.tolist(),
        }

    @classmethod
    def from_document(cls, document: Any, schema: FeatureSchema) -> MahalanobisDetector:
        """Raises InvalidBaseline."""
        try:
            fields = {name: np.array(document[name], dtype=np.float64) for name in ("mean", "scale", "covariance")}
            used = int((fields["scale"] > 0).sum())
            if fields["mean"].shape != (len(schema),) or fields["covariance"].size != used * used:
                raise ValueError("shapes do not fit the schema")
            fields["covariance"] = fields["covariance"].reshape(used, used)
            return cls(schema, **fields)
        except (KeyError, TypeError, ValueError, np.linalg.LinAlgError) as error:
            raise InvalidBaseline(f"detectors.mahalanobis: {error!r}") from error


def _bounded(deviations: Array, limit: Array) -> Array:
    return np.asarray(np.clip(deviations, -limit, limit))


def _moments(matrix: Array, numeric: NDArray[np.bool_]) -> dict[str, Array]:
    present = ~np.isnan(matrix)
    counts = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, matrix, 0.0).sum(axis=0) / counts
    deviations = np.where(present, matrix - mean, 0.0)
    scale = np.sqrt((deviations**2).sum(axis=0) / counts)
    # A spread within rounding of the mean is a constant's.
    scale[~numeric | (scale <= 1e-12 * np.abs(mean))] = 0.0
    used = scale > 0
    return {"mean": mean, "scale": scale, "covariance": shrunk_covariance(deviations[:, used] / scale[used])}


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
    # Perfectly dependent features leave directions without variance; a floor keeps their distances finite.
    floor = max(float(values[-1]), 1.0) * 1e-10
    root: Array = (vectors / np.sqrt(np.maximum(values, floor))) @ vectors.T
    return root
