"""
Counts kept apart by weight, so that sampled traffic can be weighted and the counts stay whole numbers.

A record stands for `weight` requests. Sums of weights are floating-point and depend on the order of merging; integers
by weight do not. Few weights are usual: 1 for what is always logged, 1 / sampleRate for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray


class Additive(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


T = TypeVar("T", bound=Additive)


@dataclass(frozen=True, slots=True)
class Resolution:
    """So many different weights are kept as they are; with more, all are rounded to powers of two, `octaves` apart."""

    limit: int
    octaves: float

    def rounded(self, weight: float) -> float:
        return float(2.0 ** (round(math.log2(weight) / self.octaves) * self.octaves))


COUNTS: Final = Resolution(limit=16, octaves=0.5)
"""Rounded weights are off by a fifth at most."""

SKETCHES: Final = Resolution(limit=4, octaves=1.0)
"""A sketch takes fifty times the bytes of a histogram."""


@dataclass(frozen=True)
class Strata(Generic[T]):
    """
    parts: what has this weight. coarse: there were too many weights, and they are rounded. Merging is commutative and
    associative, rounding included: once the weights are too many in a part, they are in the whole.
    """

    parts: Mapping[float, T] = field(default_factory=dict)
    coarse: bool = False

    def merge(self, other: Strata[T], resolution: Resolution = COUNTS) -> Strata[T]:
        if not other.parts and not other.coarse:
            return self
        return _gathered([*self.parts.items(), *other.parts.items()], self.coarse or other.coarse, resolution)

    def to_state(self, leaf: Callable[[T], Any]) -> dict[str, Any]:
        return {"coarse": self.coarse, "parts": [[weight, leaf(self.parts[weight])] for weight in sorted(self.parts)]}

    @classmethod
    def from_state(cls, state: dict[str, Any], leaf: Callable[[Any], T]) -> Strata[T]:
        return cls({float(weight): leaf(part) for weight, part in state["parts"]}, bool(state["coarse"]))


def by_weight(
    weights: NDArray[np.float64], count: Callable[[NDArray[np.bool_]], T], resolution: Resolution = COUNTS
) -> Strata[T]:
    """weights: of the rows. count: makes the part of the rows that are chosen."""
    rounded, coarse = weights, False
    distinct = np.unique(weights)
    if len(distinct) > resolution.limit:
        rounded = np.array([resolution.rounded(weight) for weight in weights.tolist()])
        distinct, coarse = np.unique(rounded), True
    return Strata({weight: count(rounded == weight) for weight in distinct.tolist()}, coarse)


def _gathered(items: Iterable[tuple[float, T]], coarse: bool, resolution: Resolution) -> Strata[T]:
    items = list(items)
    coarse = coarse or len({weight for weight, _ in items}) > resolution.limit
    parts: dict[float, T] = {}
    for weight, part in items:
        key = resolution.rounded(weight) if coarse else weight
        parts[key] = parts[key] + part if key in parts else part
    return Strata(parts, coarse)
