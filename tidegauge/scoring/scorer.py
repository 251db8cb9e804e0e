"""Rows of one request, or of several, into scores, p-values, verdicts and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import COMBINED, BaselineProfile
from tidegauge.errors import BaselineMismatch
from tidegauge.features import Matrix
from tidegauge.scoring.calibration import Calibration, Status

Array = NDArray[np.float64]

TOP_FEATURES: Final = 3


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """
    scores: {detector: (rows,)}, larger = less like the baseline. p_values: the same keys and "combined", in (0, 1].
    outlier: bool (rows,), combined p-value <= the false-alarm rate. top: per row up to TOP_FEATURES pairs (feature,
    contribution) of the detector that is most surprised, largest first, in that detector's units.
    """

    scores: dict[str, Array]
    p_values: dict[str, Array]
    outlier: NDArray[np.bool_]
    top: list[list[tuple[str, float]]]


class Scorer:
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
        names = tuple(profile.detectors) if detectors is None else tuple(detectors)
        lacking = [name for name in names if name not in profile.detectors]
        if lacking:
            raise BaselineMismatch(
                f"the baseline has no detector {', '.join(lacking)}; it has {', '.join(profile.detectors)}"
            )
        self.false_alarm_rate = false_alarm_rate
        self._profile = profile
        self._names = names
        # The combination was calibrated over all detectors; one alone is calibrated by its own held-out scores. Any
        # other subset has surprises no larger than the calibrated maximum, so its p-values err towards 1.
        combined = names[0] if len(names) == 1 else COMBINED
        self._calibrations = {name: Calibration(profile.held_out[name]) for name in names}
        self._combined = Calibration(profile.held_out[combined])
        if self.status == "refused":
            raise BaselineMismatch(
                f"{self._combined.held_out.n} held-out rows are too few for a rate of {false_alarm_rate:g}: "
                f"fit the baseline on at least {2 * int(np.ceil(0.1 / false_alarm_rate))} rows"
            )

    @property
    def status(self) -> Status:
        """How well the held-out rows carry the false-alarm rate."""
        return self._combined.held_out.status(self.false_alarm_rate)

    def score(self, matrix: Matrix) -> ScoredRows:
        """matrix: float64 (rows, features) in schema order, NaN = missing. A row's results depend on that row alone."""
        profile = self._profile
        scores: dict[str, Array] = {}
        surprises, contributions = [], []
        for name in self._names:
            scores[name], by_feature = profile.detectors[name].score(matrix)
            surprises.append(profile.surprises[name](scores[name]))
            contributions.append(by_feature)
        largest = np.maximum.reduce(surprises)
        p_values = {n: self._calibrations[n].p_values(s) for n, s in zip(self._names, surprises, strict=True)}
        p_values[COMBINED] = self._combined.p_values(largest)
        driving = contributions[0] if len(contributions) == 1 else _of_most_surprised(surprises, contributions)
        return ScoredRows(scores, p_values, p_values[COMBINED] <= self.false_alarm_rate, self._top(driving))

    def _top(self, contributions: Array) -> list[list[tuple[str, float]]]:
        names = self._profile.schema.names
        order = np.argsort(-contributions, axis=1, kind="stable")[:, :TOP_FEATURES]
        values = np.take_along_axis(contributions, order, axis=1)
        return [
            [(names[feature], value) for feature, value in zip(features, row, strict=True)]
            for features, row in zip(order.tolist(), values.tolist(), strict=True)
        ]


def _of_most_surprised(surprises: list[Array], contributions: list[Array]) -> Array:
    most = np.argmax(surprises, axis=0)
    return np.asarray(np.stack(contributions)[most, np.arange(len(most))])
