"""The detectors fitted on reference rows, with what makes p-values of their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

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

COMBINED: Final = "combined"
"""Name of the verdict over all detectors of a set, beside the detectors' own names."""


@dataclass(frozen=True)
class FittedScoring:
    detectors: Mapping[str, Detector]
    surprises: Mapping[str, Surprise]
    """Per detector, from score to surprise on the rows it was fitted on."""
    held_out: Mapping[str, HeldOut]
    """Per detector and for COMBINED over all of them, the surprises of the rows it was not fitted on."""

    @classmethod
    def fit(cls, rows: Matrix, schema: FeatureSchema) -> FittedScoring:
        """rows: float64 (rows, features), NaN = missing, no known outliers. One half fits, the other calibrates."""
        fitting, calibrating = _halves(rows)
        detectors = {name: kind.fit(fitting, schema) for name, kind in DETECTORS.items()}
        surprises = {name: Surprise.fit(score_rows(detector, fitting)[0]) for name, detector in detectors.items()}
        held_out = {name: surprises[name](score_rows(detector, calibrating)[0]) for name, detector in detectors.items()}
        held_out[COMBINED] = np.max(list(held_out.values()), axis=0)
        return cls(detectors, surprises, {name: HeldOut.fit(values) for name, values in held_out.items()})

    def to_document(self) -> dict[str, object]:
        return {
            "detectors": {name: detector.to_document() for name, detector in self.detectors.items()},
            "surprises": {name: surprise_to_document(surprise) for name, surprise in self.surprises.items()},
            "held_out": {name: held_out_to_document(held_out) for name, held_out in self.held_out.items()},
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any], schema: FeatureSchema) -> FittedScoring:
        """Raises InvalidBaseline."""
        names = set(document["detectors"])
        if not names or names - set(DETECTORS):
            raise InvalidBaseline(f"detectors {', '.join(sorted(names))}; this version has {', '.join(DETECTORS)}")
        if set(document["surprises"]) != names or set(document["held_out"]) != names | {COMBINED}:
            raise InvalidBaseline(f"damaged profile: not every one of {', '.join(sorted(names))} is calibrated")
        return cls(
            detectors={
                name: DETECTORS[name].from_document(item, schema) for name, item in document["detectors"].items()
            },
            surprises={name: surprise_from_document(item) for name, item in document["surprises"].items()},
            held_out={name: held_out_from_document(item) for name, item in document["held_out"].items()},
        )


def _halves(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """
    Two samples of the same rows' distribution, the same for the same data. The fractional parts of multiples of the
    golden ratio are spread evenly over any stretch and follow no period that a file may have.
    """
    golden = (np.arange(1, len(matrix) + 1) * 0.6180339887498949) % 1.0
    fitting = golden < 0.5
    return matrix[fitting], matrix[~fitting]
