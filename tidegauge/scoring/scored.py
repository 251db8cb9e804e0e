"""What scoring says of a row, or of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.scoring.detector import Array

TOP_FEATURES: Final = 3


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
        names = np.array(self.features, object)[self.top_features].tolist()
        return list(map(list, map(zip, names, self.top_contributions.tolist())))


class Ranking:
    """
    The features that contribute most; of equals the first. Contributions, >= 0, that agree in all but their last bits
    count as equal: with up to 32 features the last 5 of 53.
    """

    def __init__(self, features: tuple[str, ...]) -> None:
        self._names = features
        # The position of a feature takes the place of its contribution's last bits: so no two are equal, and whole
        # numbers are sorted, which is several times faster than finding out the order of equal floats.
        self._last_bits = np.array((1 << max(len(features) - 1, 0).bit_length()) - 1)
        self._turned = ~np.arange(len(features))

    def of_row(self, contributions: Array) -> list[tuple[str, float]]:
        """contributions: (features,). Pairs (feature, contribution), largest first."""
        order = self._order(contributions)
        return [
            (self._names[f], value) for f, value in zip(order.tolist(), contributions.take(order).tolist(), strict=True)
        ]

    def of_rows(self, contributions: Array) -> tuple[NDArray[np.intp], Array]:
        """contributions: (rows, features). Positions of features and their contributions, (rows, k), largest first."""
        order = self._order(contributions)
        return order, contributions[np.arange(len(contributions))[:, None], order]

    def _order(self, contributions: Array) -> NDArray[np.intp]:
        keys: NDArray[np.int64] = np.asarray(contributions, np.float64).view(np.int64) | self._last_bits
        keys ^= self._turned
        keys.sort(axis=-1)
        return np.asarray(keys[..., :TOP_FEATURES] & self._last_bits)
