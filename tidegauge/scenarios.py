"""
Seeded changes of traffic with known truth: what was done to which feature, so that a verdict can be marked.

Sizes are in the baseline's standard deviations, about the baseline's mean, whatever rows they are applied to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tidegauge.features import UNSEEN, Matrix


class Injection(Protocol):
    """Changes one column; rows in and out have the same shape, the input stays as it is."""

    @property
    def feature(self) -> str: ...

    def column(self, values: Matrix) -> Matrix: ...


@dataclass(frozen=True)
class Shift:
    """Adds `size` standard deviations to every value of a feature."""

    feature: str
    size: float
    standard_deviation: float

    def column(self, values: Matrix) -> Matrix:
        return values + self.size * self.standard_deviation


@dataclass(frozen=True)
class Spread:
    """Moves every value of a feature to `factor` times its distance from the mean."""

    feature: str
    factor: float
    mean: float

    def column(self, values: Matrix) -> Matrix:
        return self.mean + self.factor * (values - self.mean)


@dataclass(frozen=True)
class Unit:
    """Converts every value: factor * value + offset."""

    feature: str
    factor: float
    offset: float = 0.0

    def column(self, values: Matrix) -> Matrix:
        return self.factor * values + self.offset


@dataclass(frozen=True)
class Missing:
    """Takes away a share of the values, spread over the rows by chance."""

    feature: str
    share: float
    rng: np.random.Generator

    def column(self, values: Matrix) -> Matrix:
        chosen = self.rng.random(len(values)) < self.share
        return np.where(chosen, np.nan, values)


@dataclass(frozen=True)
class Constant:
    """Every value present becomes this one, as of a sensor that is stuck."""

    feature: str
    value: float

    def column(self, values: Matrix) -> Matrix:
        return np.where(np.isnan(values), np.nan, self.value)


@dataclass(frozen=True)
class NewCategory:
    """A share of the values becomes categories that the baseline does not know."""

    feature: str
    share: float
    rng: np.random.Generator

    def column(self, values: Matrix) -> Matrix:
        chosen = self.rng.random(len(values)) < self.share
        return np.where(chosen & ~np.isnan(values), UNSEEN, values)


@dataclass(frozen=True)
class Outside:
    """A share of the values becomes one that no value of the reference is, as of a sentinel such as -999."""

    feature: str
    share: float
    value: float
    rng: np.random.Generator

    def column(self, values: Matrix) -> Matrix:
        chosen = self.rng.random(len(values)) < self.share
        return np.where(chosen & ~np.isnan(values), self.value, values)


@dataclass(frozen=True)
class BrokenCorrelation:
    """Deals the values out anew: the feature's own distribution stays, what ties it to the others goes."""

    feature: str
    rng: np.random.Generator

    def column(self, values: Matrix) -> Matrix:
        return self.rng.permutation(values)


@dataclass(frozen=True)
class Scenario:
    """Several injections at once. A feature may be changed once only."""

    injections: tuple[Injection, ...]

    def __post_init__(self) -> None:
        if len(set(self.features)) < len(self.injections):
            raise ValueError(f"a feature may be changed once only, got {', '.join(self.features)}")

    @property
    def features(self) -> tuple[str, ...]:
        """The truth: what a verdict should name."""
        return tuple(injection.feature for injection in self.injections)

    def apply(self, rows: Matrix, names: Sequence[str]) -> Matrix:
        """A changed copy; missing values stay missing. Raises ValueError for a feature that the rows do not have."""
        changed = rows.copy()
        for injection in self.injections:
            if injection.feature not in names:
                raise ValueError(f"no feature {injection.feature!r}, there are {', '.join(names)}")
            position = list(names).index(injection.feature)
            changed[:, position] = injection.column(rows[:, position])
        return changed


def shift_and_spread(
    reference: Matrix,
    names: Sequence[str],
    *,
    shifted: Mapping[str, float],
    spread: Mapping[str, float],
) -> Scenario:
    """
    A scenario measured on reference rows: {feature: standard deviations}, {feature: factor}.

    Raises ValueError for an unknown feature, or one that never varies and so has nothing to be shifted by.
    """
    injections: list[Injection] = []
    for name, size in shifted.items():
        injections.append(Shift(name, size, _moments(reference, names, name)[1]))
    for name, factor in spread.items():
        injections.append(Spread(name, factor, _moments(reference, names, name)[0]))
    return Scenario(tuple(injections))


def replay_order(rng: np.random.Generator, *, available: int, count: int) -> np.ndarray:
    """`count` row positions: as many whole random orders of all rows as it takes, each row as often as any other."""
    if available < 1:
        raise ValueError("there are no rows to replay")
    rounds = [rng.permutation(available) for _ in range(-(-count // available))]
    return np.concatenate(rounds)[:count] if rounds else np.empty(0, dtype=np.intp)


def _moments(reference: Matrix, names: Sequence[str], name: str) -> tuple[float, float]:
    if name not in names:
        raise ValueError(f"no feature {name!r}, there are {', '.join(names)}")
    column = reference[:, list(names).index(name)]
    mean, deviation = float(np.nanmean(column)), float(np.nanstd(column))
    if not deviation > 0:
        raise ValueError(f"feature {name!r} never varies in the reference")
    return mean, deviation
