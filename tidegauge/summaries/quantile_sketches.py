"""
Quantiles of every numeric feature, from a bounded part of its values.

Values are centred and scaled by the baseline and kept in single precision: half the bytes of double precision, and
nothing lost where they are near the baseline. A quantile of values that lie d baseline standard deviations away is
rounded to 6e-8 d of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import IncompatibleSummaries
from tidegauge.summaries import sketches
from tidegauge.summaries.sketches import Values, values_of
from tidegauge.summaries.strata import SKETCHES, Strata, by_weight
from tidegauge.summaries.window_rows import WindowRows

Array = NDArray[np.float64]

_LARGEST: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class QuantileSketches:
    """
    One column per numeric or boolean feature, in the profile's order. centre, scale: what is taken from and then
    divides its values. strata: the values by weight. Merged in another order or grouping, quantiles are others within
    rank_error.
    """

    centre: Array
    scale: Array
    strata: Strata[Values]

    @classmethod
    def of(cls, data: WindowRows) -> QuantileSketches:
        # Booleans stay 0 and 1, which are exact as they are.
        centre, scale = (per_feature[data.quantities] for per_feature in data.profile.centre_and_scale)
        if data.weights is None:
            return cls._of_ordered(data.ordered_numbers, centre, scale)
        return cls.of_columns(data.numbers, data.weights, centre=centre, scale=scale)

    @classmethod
    def of_columns(cls, matrix: Array, weights: Array | None, *, centre: Array, scale: Array) -> QuantileSketches:
        """matrix: (rows, columns), NaN = missing. weights: of the rows, None where every one is 1."""
        if weights is None:
            return cls._of_ordered(np.sort(matrix.T, axis=1), centre, scale)
        near = _near(matrix.T, centre, scale)
        return cls(centre, scale, by_weight(weights, lambda chosen: values_of(np.sort(near[:, chosen])), SKETCHES))

    @classmethod
    def _of_ordered(cls, ordered: Array, centre: Array, scale: Array) -> QuantileSketches:
        """ordered: (columns, rows). Centred, scaled and rounded they are in the same order."""
        parts = {1.0: values_of(_near(ordered, centre, scale))} if ordered.shape[1] else {}
        return cls(centre, scale, Strata(parts))

    def merge(self, other: QuantileSketches) -> QuantileSketches:
        """Raises IncompatibleSummaries when the two were centred or scaled differently."""
        for name in ("centre", "scale"):
            left, right = getattr(self, name), getattr(other, name)
            if not np.array_equal(left, right):
                raise IncompatibleSummaries(name, left.tolist(), right.tolist())
        return QuantileSketches(self.centre, self.scale, self.strata.merge(other.strata, SKETCHES))

    def arranged(self, positions: NDArray[np.int64]) -> QuantileSketches:
        """The columns at these positions; -1 stands for one without values, neither centred nor scaled."""
        return QuantileSketches(
            np.append(self.centre, 0.0)[positions],
            np.append(self.scale, 1.0)[positions],
            Strata({w: part.arranged(positions) for w, part in self.strata.parts.items()}, self.strata.coarse),
        )

    def quantiles(self, ranks: Array) -> Array:
        """
        (columns, ranks): the smallest value that at least this share of the traffic does not exceed; NaN where there is
        none. Cut to float32's range in baseline standard deviations: the caller knows the true range.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return self._near_quantiles(ranks) * self.scale[:, None] + self.centre[:, None]

    def _near_quantiles(self, ranks: Array) -> Array:
        parts = self.strata.parts
        if len(parts) == 1:
            (part,) = parts.values()
            return part.quantiles(ranks)
        near = [self._weighted_quantiles(at, ranks) for at in range(len(self.centre))]
        return np.array(near, dtype=np.float64).reshape(len(near), len(ranks))

    def _weighted_quantiles(self, at: int, ranks: Array) -> Array:
        """Of one column."""
        kept = [
            (value, weight * times)
            for weight, part in sorted(self.strata.parts.items())
            for value, times in part.counted(at)
        ]
        if not kept:
            return np.full(len(ranks), np.nan)
        values, weights = np.array(sorted(kept)).T
        reached = np.cumsum(weights)
        # Sums of weights are rounded: a rank that a value reaches exactly must find that value.
        positions = np.searchsorted(reached, ranks * reached[-1] * (1 - 1e-12))
        return np.asarray(values[np.minimum(positions, len(values) - 1)])

    def rank_error(self) -> Array:
        """Per column: 0 where every value is kept."""
        errors = [part.rank_error() for part in self.strata.parts.values()]
        return np.asarray(np.max([np.zeros(len(self.centre)), *errors], axis=0))

    def to_state(self) -> dict[str, Any]:
        strata = self.strata.to_state(lambda part: part.to_state())
        return {"centre": self.centre, "scale": self.scale, "strata": strata}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> QuantileSketches:
        centre, scale = (np.array(state[name], dtype=np.float64) for name in ("centre", "scale"))
        strata = Strata.from_state(state["strata"], sketches.from_state)
        if any(part.width != len(centre) for part in strata.parts.values()):
            raise ValueError(f"other columns than {len(centre)} among the quantiles")
        return cls(centre, scale, strata)


def _near(columns: Array, centre: Array, scale: Array) -> NDArray[np.float32]:
    """(columns, rows), centred and scaled."""
    with np.errstate(over="ignore"):
        scaled = (columns - centre[:, None]) / scale[:, None]
    return np.clip(scaled, -_LARGEST, _LARGEST).astype(np.float32)
