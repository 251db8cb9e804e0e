"""What scoring says of a row, or of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.scoring.detector import Array

TOP_FEATURES: Final = 3

FEW_ROWS: Final = 24
"""Up to here sorting all features is faster than looking for the largest, three times."""


@dataclass(slots=True)
class ScoredRow:
    """
    Not frozen, nor is ScoredRows, since that would take longer than many a step of scoring; nobody changes one.

    scores: by detector and "combined", larger = less like the baseline. p_values: the same keys, in (0, 1]. outlier:
    combined p-value <= the false-alarm rate. top: up to TOP_FEATURES pairs (feature, contribution) of the detector that
    is most surprised, largest first, in that detector's units.
    """

    scores: dict[str, float]
    p_values: dict[str, float]
    outlier: bool
    top: list[tuple[str, float]]


@dataclass(slots=True)
class ScoredRows:
    """
    The same for many rows, as arrays. scores, p_values: {name: float64 (rows,)}. outlier: bool (rows,). top_features:
    int (rows, k), positions in `features`; top_contributions: float64 (rows, k); k = min(TOP_FEATURES, features).
    """

    scores: dict[str, Array]
    p_values: dict[str, Array]
    outlier: NDArray[np.bool_]
    top_features: NDArray[np.intp]
    top_contributions: Array
    features: tuple[str, ...]

    @classmethod
    def of_one(cls, row: ScoredRow, features: tuple[str, ...]) -> ScoredRows:
        return cls(
            scores={name: np.array([score]) for name, score in row.scores.items()},
            p_values={name: np.array([p_value]) for name, p_value in row.p_values.items()},
            outlier=np.array([row.outlier]),
            top_features=np.array([[features.index(name) for name, _ in row.top]]),
            top_contributions=np.array([[value for _, value in row.top]]),
            features=features,
        )

    @property
    def top(self) -> list[list[tuple[str, float]]]:
        """Per row as ScoredRow has it."""
        names = self.features
        return [
            [(names[feature], value) for feature, value in zip(features, values, strict=True)]
            for features, values in zip(self.top_features.tolist(), self.top_contributions.tolist(), strict=True)
        ]


def top_of_row(contributions: Array, features: tuple[str, ...]) -> list[tuple[str, float]]:
    """contributions: (features,). Of equals, the first feature."""
    order = (-contributions).argsort(kind="stable")[:TOP_FEATURES]
    return [(features[f], value) for f, value in zip(order.tolist(), contributions.take(order).tolist(), strict=True)]


def top_of_rows(contributions: Array) -> tuple[NDArray[np.intp], Array]:
    """contributions: (features, rows). Features and values, (k, rows); of equals, the first feature."""
    rows = np.arange(contributions.shape[1])
    if len(rows) <= FEW_ROWS:
        order = (-contributions).argsort(axis=0, kind="stable")[:TOP_FEATURES]
        return order, contributions[order, rows]
    remaining = contributions.copy()
    kept = min(TOP_FEATURES, len(contributions))
    features = np.empty((kept, len(rows)), dtype=np.intp)
    values = np.empty((kept, len(rows)))
    for rank in range(kept):
        features[rank] = remaining.argmax(axis=0)
        values[rank] = remaining[features[rank], rows]
        remaining[features[rank], rows] = -1.0
    return features, values
