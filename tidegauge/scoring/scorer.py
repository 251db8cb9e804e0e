"""Rows of one request, or of several, into scores, p-values, verdicts and reasons."""

from __future__ import annotations

import functools
import math
import operator
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.errors import BaselineMismatch
from tidegauge.features import Matrix
from tidegauge.scoring.calibration import Calibration, Status, Surprise
from tidegauge.scoring.fitted import COMBINED

Array = NDArray[np.float64]

TOP_FEATURES: Final = 3

FEW_ROWS: Final = 24
"""Up to here p-values one by one are faster than as arrays."""


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """
    scores: by detector, larger = less like the baseline. p_values: the same keys and "combined", in (0, 1]. outlier:
    combined p-value <= the false-alarm rate. top: up to TOP_FEATURES pairs (feature, contribution) of the detector that
    is most surprised, largest first, in that detector's units.
    """

    scores: dict[str, float]
    p_values: dict[str, float]
    outlier: bool
    top: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """
    The same for many rows, as arrays. scores, p_values: {name: float64 (rows,)}. outlier: bool (rows,). top_features:
    int (rows, k), positions in `features`; top_contributions: float64 (rows, k); k = min(TOP_FEATURES, features).
    """

    scores: dict[str, Array]
    p_values: dict[str, Array]
    outlier: NDArray[np.bool_]
    top_features: NDArray[np.int_]
    top_contributions: Array
    features: tuple[str, ...]

    @property
    def top(self) -> list[list[tuple[str, float]]]:
        """Per row as ScoredRow has it."""
        names = self.features
        return [
            [(names[feature], value) for feature, value in zip(features, values, strict=True)]
            for features, values in zip(self.top_features.tolist(), self.top_contributions.tolist(), strict=True)
        ]


class Scorer:
    """
    Not to be shared between threads. `score_row` is for a single row, `score` for several; a row's results are the same
    by either, to the last bit, and depend on that row alone.
    """

    def __init__(
        self,
        profile: BaselineProfile,
        *,
        detectors: Sequence[str] | None = None,
        false_alarm_rate: float = 0.001,
    ) -> None:
        """
        detectors: all of the profile's by default. Raises BaselineMismatch when the profile lacks one, or when its
        held-out rows are too few for the rate.
        """
        names = tuple(profile.scoring.detectors) if detectors is None else tuple(detectors)
        lacking = [name for name in names if name not in profile.scoring.detectors]
        if lacking:
            raise BaselineMismatch(
                f"the baseline has no detector {', '.join(lacking)}; it has {', '.join(profile.scoring.detectors)}"
            )
        self.false_alarm_rate = false_alarm_rate
        self._features = profile.schema.names
        # The combination was calibrated over all detectors; one alone is calibrated by its own held-out scores. Any
        # other subset has surprises no larger than the calibrated maximum, so its p-values err towards 1.
        combined = names[0] if len(names) == 1 else COMBINED
        self._detectors = [
            (
                name,
                profile.scoring.detectors[name],
                profile.scoring.surprises[name],
                Calibration(profile.scoring.held_out[name]),
            )
            for name in names
        ]
        self._combined = Calibration(profile.scoring.held_out[combined])
        self._row = np.zeros(len(profile.schema))
        self._row_bytes = self._row.data.cast("B")
        self._row_format = struct.Struct(f"{len(profile.schema)}d")
        if self.status == "refused":
            raise BaselineMismatch(
                f"{self._combined.held_out.n} held-out rows are too few for a rate of {false_alarm_rate:g}: "
                f"fit the baseline on at least {2 * math.ceil(0.1 / false_alarm_rate)} rows"
            )

    @property
    def status(self) -> Status:
        """How well the held-out rows carry the false-alarm rate."""
        return self._combined.held_out.status(self.false_alarm_rate)

    def score_row(self, values: Sequence[float]) -> ScoredRow:
        """values: (features,) in schema order, NaN = missing."""
        row = self._row
        self._row_format.pack_into(self._row_bytes, 0, *values)
        missing = np.isnan(row) if math.isnan(functools.reduce(operator.add, values)) else None
        scores: dict[str, float] = {}
        p_values: dict[str, float] = {}
        largest, driving = -1.0, row
        for name, detector, surprise_of, calibration in self._detectors:
            contributions = detector.contributions_of_row(row, missing)
            scores[name] = score = functools.reduce(operator.add, contributions.tolist())
            surprise = surprise_of.of_one(score)
            p_values[name] = calibration.p_value(surprise)
            if surprise > largest:
                largest, driving = surprise, contributions
        p_values[COMBINED] = p_value = self._combined.p_value(largest)
        return ScoredRow(scores, p_values, p_value <= self.false_alarm_rate, self._top_of_row(driving))

    def score(self, matrix: Matrix) -> ScoredRows:
        """matrix: float64 (rows, features) in schema order, NaN = missing."""
        if len(matrix) == 1:
            return self._as_rows(self.score_row(matrix[0].tolist()))
        columns = np.ascontiguousarray(matrix.T)
        gaps = np.isnan(columns)
        missing = gaps if gaps.any() else None
        scores: dict[str, Array] = {}
        p_values: dict[str, Array] = {}
        surprises, contributions = [], []
        few = len(matrix) <= FEW_ROWS
        calibrated = _one_by_one if few else _as_arrays
        for name, detector, surprise_of, calibration in self._detectors:
            by_feature = detector.contributions(columns, missing)
            scores[name] = np.add.reduce(by_feature, axis=0)
            surprise, p_values[name] = calibrated(scores[name], surprise_of, calibration)
            surprises.append(surprise)
            contributions.append(by_feature)
        most, driving = _most_surprised(surprises, contributions)
        p_values[COMBINED] = _one_p_value_each(most, self._combined) if few else self._combined.p_values(most)
        features, values = _top(driving)
        outlier = p_values[COMBINED] <= self.false_alarm_rate
        return ScoredRows(scores, p_values, outlier, features, values, self._features)

    def _top_of_row(self, contributions: Array) -> list[tuple[str, float]]:
        order = (-contributions).argsort(kind="stable")[:TOP_FEATURES].tolist()
        return [(self._features[feature], float(contributions[feature])) for feature in order]

    def _as_rows(self, row: ScoredRow) -> ScoredRows:
        index = {name: position for position, name in enumerate(self._features)}
        return ScoredRows(
            scores={name: np.array([score]) for name, score in row.scores.items()},
            p_values={name: np.array([p_value]) for name, p_value in row.p_values.items()},
            outlier=np.array([row.outlier]),
            top_features=np.array([[index[name] for name, _ in row.top]]),
            top_contributions=np.array([[value for _, value in row.top]]),
            features=self._features,
        )


def _one_by_one(scores: Array, surprise_of: Surprise, calibration: Calibration) -> tuple[Array, Array]:
    surprises = np.array([surprise_of.of_one(score) for score in scores.tolist()])
    return surprises, _one_p_value_each(surprises, calibration)


def _one_p_value_each(surprises: Array, calibration: Calibration) -> Array:
    return np.array([calibration.p_value(surprise) for surprise in surprises.tolist()])


def _as_arrays(scores: Array, surprise_of: Surprise, calibration: Calibration) -> tuple[Array, Array]:
    surprises = surprise_of(scores)
    return surprises, calibration.p_values(surprises)


def _most_surprised(surprises: list[Array], contributions: list[Array]) -> tuple[Array, Array]:
    """
    Per row the largest surprise, and the contributions, (features, rows), of the detector that has it; of equals, the
    first.
    """
    most, driving = surprises[0], contributions[0]
    for surprise, by_feature in zip(surprises[1:], contributions[1:], strict=True):
        larger = surprise > most
        driving = np.where(larger, by_feature, driving)
        most = np.where(larger, surprise, most)
    return most, driving


def _top(contributions: Array) -> tuple[NDArray[np.int_], Array]:
    """contributions: (features, rows). Largest first; of equals, the first feature."""
    rows = np.arange(contributions.shape[1])
    if len(rows) <= FEW_ROWS:
        order = (-contributions).argsort(axis=0, kind="stable")[:TOP_FEATURES]
        return order.T, contributions[order, rows].T
    remaining = contributions.copy()
    features = np.empty((len(rows), min(TOP_FEATURES, len(contributions))), dtype=np.int_)
    values = np.empty(features.shape)
    for rank in range(features.shape[1]):
        features[:, rank] = remaining.argmax(axis=0)
        values[:, rank] = remaining[features[:, rank], rows]
        remaining[features[:, rank], rows] = -1.0
    return features, values
