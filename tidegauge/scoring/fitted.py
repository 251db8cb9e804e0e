"""Reference rows into fitted detectors and what makes p-values of their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np

from tidegauge.errors import BaselineMismatch, InvalidBaseline
from tidegauge.features import FeatureSchema, Matrix
from tidegauge.sampling import places
from tidegauge.scoring import DETECTORS
from tidegauge.scoring.calibration import (
    Calibration,
    HeldOut,
    Surprise,
    held_out_from_document,
    held_out_to_document,
    surprise_from_document,
    surprise_to_document,
)
from tidegauge.scoring.combination import COMBINATIONS, Combination
from tidegauge.scoring.detector import Array, Detector, DetectorKind, scores_of
from tidegauge.scoring.known_outliers import KnownOutliers

_T = TypeVar("_T")

COMBINED: Final = "combined"
"""Name of the verdict over all detectors of a set, beside the detectors' own names."""

SMALL_SAMPLE: Final = 4000
"""Below as many rows, halves are too small to fit and to calibrate on: FOLDS parts calibrate in turn."""

FOLDS: Final = 10

MOST_IN_SETS: Final = 4
"""Up to as many detectors every set of them is calibrated; of more, each alone and all together."""

NORM: Final = "fourth_power_norm"


@dataclass(frozen=True)
class FittedScoring:
    detectors: Mapping[str, Detector]
    surprises: Mapping[str, Surprise]
    """Per detector, from score to surprise on the rows it was fitted on."""
    held_out: Mapping[str, HeldOut]
    """By the names of a set of detectors joined with "+": combined surprises of rows that they were not fitted on."""
    known_outliers: KnownOutliers = field(default_factory=KnownOutliers)
    combination_name: str = NORM
    """One of COMBINATIONS, that `held_out` was computed with."""
    foreign: Mapping[str, object] = field(default_factory=dict)
    """Documents of detectors that the profile has and this process knows no class for, kept as they are."""

    @classmethod
    def fit(
        cls,
        rows: Matrix,
        schema: FeatureSchema,
        *,
        detectors: Mapping[str, DetectorKind] | None = None,
        contamination: float = 0.0,
        known_outliers: Matrix | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> FittedScoring:
        """
        rows: float64 (rows, features), NaN = missing, at least 20, no known outliers; an empty column stays out of
        every score. detectors: by name, DETECTORS by default. contamination: share of the rows, in [0, 0.5), presumed
        to be unmarked outliers: those with the largest combined score in a first fit are left out of the second.
        known_outliers: (outliers, features), marked ones, to see how many of them would be flagged. progress: called
        with what is being done and the share done in [0, 1].
        """
        kinds = _canonical(DETECTORS if detectors is None else detectors)
        told = progress or (lambda _what, _share: None)
        if contamination:
            told("looking for unmarked outliers", 0.0)
            rows = _trimmed(rows, schema, kinds, contamination)
        told("fitting detectors", 0.2)
        fit = _fit_in_folds if len(rows) < SMALL_SAMPLE else _fit_in_halves
        fitted, held_out = fit(rows, schema, kinds)
        told("calibrating", 0.8)
        sets = {set_name(names): HeldOut.fit(_combined(held_out, names)) for names in _sets(tuple(kinds))}
        scoring = cls(
            detectors={name: detector for name, (detector, _) in fitted.items()},
            surprises={name: surprise for name, (_, surprise) in fitted.items()},
            held_out=sets,
        )
        if known_outliers is None or not len(known_outliers):
            return scoring
        return replace(scoring, known_outliers=scoring._found(known_outliers))

    @property
    def combination(self) -> Combination:
        return COMBINATIONS[self.combination_name]

    def ordered(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """
        In the profile's order; all of them by default. Raises BaselineMismatch for one that the profile lacks, and for
        a set that has no calibration.
        """
        chosen = tuple(name for name in self.detectors if names is None or name in names)
        lacking = [name for name in names or () if name not in self.detectors]
        if lacking:
            raise BaselineMismatch(
                f"the baseline has no detector {', '.join(lacking)}; it has {', '.join(self.detectors)}"
            )
        if set_name(chosen) not in self.held_out:
            raise BaselineMismatch(
                f"the baseline has no calibration for {', '.join(chosen) or 'no detector'} together; it has: "
                f"{', '.join(self.held_out)}"
            )
        return chosen

    def held_out_of(self, names: Sequence[str]) -> HeldOut:
        """names: as ordered() gives them."""
        return self.held_out[set_name(names)]

    def _found(self, outliers: Matrix) -> KnownOutliers:
        surprises = {
            name: self.surprises[name](scores_of(detector, outliers)) for name, detector in self.detectors.items()
        }
        return KnownOutliers.of(
            {
                name: Calibration(held_out).p_values(_combined(surprises, name.split("+")))
                for name, held_out in self.held_out.items()
            }
        )

    def to_document(self) -> dict[str, object]:
        return {
            "detectors": {**self.foreign, **{name: one.to_document() for name, one in self.detectors.items()}},
            "combination": self.combination_name,
            "surprises": {name: surprise_to_document(surprise) for name, surprise in self.surprises.items()},
            "held_out": {name: held_out_to_document(held_out) for name, held_out in self.held_out.items()},
            "known_outliers": self.known_outliers.to_document(),
        }

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], schema: FeatureSchema, *, kinds: Mapping[str, DetectorKind] | None = None
    ) -> FittedScoring:
        """
        kinds: classes of detectors beside DETECTORS, by the name that the profile has for them. Raises InvalidBaseline.
        """
        known = {**DETECTORS, **(kinds or {})}
        documents, surprises, held_out = document["detectors"], document["surprises"], document["held_out"]
        if not documents:
            raise InvalidBaseline("damaged profile: no detectors")
        if "combination" not in document:
            held_out = _sets_of_version_1(held_out, documents)
        if set(documents) != set(surprises) or not {*documents, set_name(_canonical(documents))} <= set(held_out):
            raise InvalidBaseline(f"damaged profile: not every one of {', '.join(documents)} is calibrated")
        names = tuple(_canonical({name: known[name] for name in documents if name in known}))
        if not names:
            raise InvalidBaseline(f"detectors {', '.join(documents)}; this process has {', '.join(known)}")
        return cls(
            detectors={name: known[name].from_document(documents[name], schema) for name in names},
            surprises={name: surprise_from_document(item) for name, item in surprises.items()},
            held_out={name: held_out_from_document(item) for name, item in held_out.items()},
            known_outliers=KnownOutliers.from_document(document.get("known_outliers", {})),
            combination_name=_combination_name(document.get("combination", "maximum")),
            foreign={name: item for name, item in documents.items() if name not in known},
        )


def set_name(names: Iterable[str]) -> str:
    return "+".join(names)


def _sets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    sizes = range(1, len(names) + 1) if len(names) <= MOST_IN_SETS else (1, len(names))
    return [chosen for size in sizes for chosen in combinations(names, size)]


def _sets_of_version_1(held_out: Mapping[str, Any], documents: Mapping[str, Any]) -> dict[str, Any]:
    """There, the one set beside the single detectors was all of them."""
    return {(set_name(_canonical(documents)) if name == COMBINED else name): item for name, item in held_out.items()}


def _combination_name(name: object) -> str:
    if name not in COMBINATIONS:
        raise InvalidBaseline(f"combination {name!r}; this version has {', '.join(COMBINATIONS)}")
    return str(name)


def _canonical(kinds: Mapping[str, _T]) -> dict[str, _T]:
    """The table's detectors in its order, then a user's own by name."""
    names = [name for name in DETECTORS if name in kinds] + sorted(name for name in kinds if name not in DETECTORS)
    return {name: kinds[name] for name in names}


_Fitted: TypeAlias = dict[str, tuple[Detector, Surprise]]


def _fit_all(rows: Matrix, schema: FeatureSchema, kinds: Mapping[str, DetectorKind]) -> _Fitted:
    fitted = {}
    for name, kind in kinds.items():
        detector = kind.fit(rows, schema)
        fitted[name] = detector, Surprise.fit(scores_of(detector, rows))
    return fitted


def _fit_in_halves(
    rows: Matrix, schema: FeatureSchema, kinds: Mapping[str, DetectorKind]
) -> tuple[_Fitted, dict[str, Array]]:
    """Fitted on one half; the surprises of the other."""
    fitting = places(len(rows)) < 0.5
    fitted = _fit_all(rows[fitting], schema, kinds)
    return fitted, _surprises(fitted, rows[~fitting])


def _fit_in_folds(
    rows: Matrix, schema: FeatureSchema, kinds: Mapping[str, DetectorKind]
) -> tuple[_Fitted, dict[str, Array]]:
    """Fitted on all rows; the surprises of each part by detectors that were fitted on the others."""
    fold = (places(len(rows)) * FOLDS).astype(int)
    parts = [_surprises(_fit_all(rows[fold != part], schema, kinds), rows[fold == part]) for part in range(FOLDS)]
    return _fit_all(rows, schema, kinds), {name: np.concatenate([part[name] for part in parts]) for name in kinds}


def _trimmed(rows: Matrix, schema: FeatureSchema, kinds: Mapping[str, DetectorKind], share: float) -> Matrix:
    surprises = _surprises(_fit_all(rows, schema, kinds), rows)
    order = np.argsort(_combined(surprises, tuple(kinds)), kind="stable")
    return rows[np.sort(order[: len(rows) - round(share * len(rows))])]


def _combined(surprises: Mapping[str, Array], names: Sequence[str]) -> Array:
    return COMBINATIONS[NORM].of_rows([surprises[name] for name in names])


def _surprises(fitted: _Fitted, rows: Matrix) -> dict[str, Array]:
    return {name: surprise(scores_of(detector, rows)) for name, (detector, surprise) in fitted.items()}
