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

from tidegauge.baseline import BaselineProfile
from tidegauge.concerns import rows_needed
from tidegauge.errors import BaselineMismatch
from tidegauge.features import Matrix, coerce_rows
from tidegauge.scoring.calibration import Calibration, Status, Surprise
from tidegauge.scoring.detector import Array, Detector, Missing, ReadyReasons, ReasonsOfRows
from tidegauge.scoring.fitted import COMBINED
from tidegauge.scoring.scored import Ranking, ScoredRow, ScoredRows

FEW_ROWS: Final = 24
"""Up to here p-values one by one are faster than as arrays."""


@dataclass(frozen=True, slots=True)
class _Calibrated:
    name: str
    detector: Detector
    surprise_of: Surprise
    calibration: Calibration


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
        detectors: all of the profile's by default. Raises BaselineMismatch when the profile lacks one or has no
        calibration for this set of them, or when its held-out rows are too few for the rate.
        """
        scoring = profile.scoring
        names = scoring.ordered(detectors)
        self.false_alarm_rate = false_alarm_rate
        self._schema, self._features = profile.schema, profile.schema.names
        self._detectors = [
            _Calibrated(
                name, scoring.detectors[name], scoring.surprises[name], Calibration(scoring.held_out_of((name,)))
            )
            for name in names
        ]
        self._combination = scoring.combination
        self._combined = Calibration(scoring.held_out_of(names))
        self._ranking = Ranking(self._features)
        self._row = np.zeros(len(profile.schema))
        self._row_bytes = self._row.data.cast("B")
        self._row_format = struct.Struct(f"{len(profile.schema)}d")
        if self.status == "refused":
            raise BaselineMismatch(
                f"{self._combined.held_out.n} held-out rows are too few for a rate of {false_alarm_rate:g}: "
                f"fit the baseline on at least {rows_needed(false_alarm_rate, 'extrapolated')} rows"
            )

    @property
    def detectors(self) -> tuple[str, ...]:
        return tuple(calibrated.name for calibrated in self._detectors)

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
        surprises: list[float] = []
        largest, driving = -1.0, None
        for calibrated in self._detectors:
            score, reasons = calibrated.detector.score_row(row, missing)
            surprise = calibrated.surprise_of.of_one(score)
            scores[calibrated.name] = score
            p_values[calibrated.name] = calibrated.calibration.p_value(surprise)
            surprises.append(surprise)
            if surprise > largest:
                largest, driving = surprise, reasons
        assert driving is not None
        scores[COMBINED] = combined = self._combination.of_row(surprises)
        p_values[COMBINED] = p_value = self._combined.p_value(combined)
        return ScoredRow(scores, p_values, p_value <= self.false_alarm_rate, self._ranking.of_row(driving()))

    def score(self, rows: Matrix | Sequence[object]) -> ScoredRows:
        """
        rows: float64 (rows, features) in schema order, NaN = missing; or a list of rows as requests have them, lists of
        values or mappings from feature to value, where what cannot be used counts as missing.
        """
        matrix = rows if isinstance(rows, np.ndarray) else coerce_rows(rows, self._schema).matrix
        if len(matrix) == 1:
            return ScoredRows.of_one(self.score_row(matrix[0].tolist()), self._features)
        matrix = np.ascontiguousarray(matrix)
        gaps = np.isnan(matrix)
        missing = gaps if np.count_nonzero(gaps) else None
        scored = self._score_few if len(matrix) <= FEW_ROWS else self._score_many
        return scored(matrix, missing)

    def _score_few(self, matrix: Matrix, missing: Missing) -> ScoredRows:
        scores: dict[str, Array] = {}
        p_values: dict[str, Array] = {}
        listed: list[list[float]] = []
        reasons_of: list[ReasonsOfRows] = []
        for calibrated in self._detectors:
            name = calibrated.name
            scores[name], reasons = calibrated.detector.scores(matrix, missing)
            surprises = list(map(calibrated.surprise_of.of_one, scores[name].tolist()))
            p_values[name] = np.array(list(map(calibrated.calibration.p_value, surprises)))
            listed.append(surprises)
            reasons_of.append(reasons)
        by_detector = np.array(listed)
        scores[COMBINED] = combined = self._combination.of_rows(by_detector)
        p_values[COMBINED] = np.array(list(map(self._combined.p_value, combined.tolist())))
        return self._with_reasons(scores, p_values, by_detector, reasons_of)

    def _score_many(self, matrix: Matrix, missing: Missing) -> ScoredRows:
        scores: dict[str, Array] = {}
        p_values: dict[str, Array] = {}
        by_detector: list[Array] = []
        reasons_of: list[ReasonsOfRows] = []
        for calibrated in self._detectors:
            scores[calibrated.name], reasons = calibrated.detector.scores(matrix, missing)
            surprises = calibrated.surprise_of(scores[calibrated.name])
            p_values[calibrated.name] = calibrated.calibration.p_values(surprises)
            by_detector.append(surprises)
            reasons_of.append(reasons)
        scores[COMBINED] = self._combination.of_rows(by_detector)
        p_values[COMBINED] = self._combined.p_values(scores[COMBINED])
        return self._with_reasons(scores, p_values, by_detector, reasons_of)

    def _with_reasons(
        self,
        scores: dict[str, Array],
        p_values: dict[str, Array],
        surprises: Sequence[Array] | Array,
        reasons_of: Sequence[ReasonsOfRows],
    ) -> ScoredRows:
        """surprises: of each detector, (rows,)."""
        features, values = self._ranking.of_rows(_driving_contributions(surprises, reasons_of))
        outlier = p_values[COMBINED] <= self.false_alarm_rate
        return ScoredRows(scores, p_values, outlier, features, values, self._features)


def _driving_contributions(surprises: Sequence[Array] | Array, reasons_of: Sequence[ReasonsOfRows]) -> Array:
    """(rows, features): each row's by the detector that it surprises most; of equals, the first."""
    first, *others = reasons_of
    largest = surprises[0]
    contributions = first.contributions if isinstance(first, ReadyReasons) else first(np.arange(len(largest)))
    for position, reasons in enumerate(others, start=1):
        own = surprises[position]
        driven = own > largest
        if isinstance(reasons, ReadyReasons):
            contributions = np.where(driven[:, None], reasons.contributions, contributions)
        elif driven.any():
            rows = np.flatnonzero(driven)
            contributions = contributions.copy()
            contributions[rows] = reasons(rows)
        if position < len(others):
            largest = np.maximum(largest, own)
    return contributions
