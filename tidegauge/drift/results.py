"""What a drift test answers. "Cannot say" is a type of its own: it is shown, never an alarm and never hidden."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rule: TypeAlias = Literal["budget", "fixed_threshold"]


class Measured(NamedTuple):
    """
    p_value: of the interval null, that the window is no further from the baseline than what the baseline's own
    uncertainty or the minimum effect allows; NaN where a user's own test gives none. log_p_value: its natural
    logarithm, which ranks what underflows.
    threshold: what a p-value at or below it is drift by; 0 while nothing may be spent, None for a test that does not
    decide so. fixed: size of effect from which the user calls it drift. statistic: the test's own, without unit;
    effect: the size of the change in `unit`.
    """

    statistic: float
    log_p_value: float
    threshold: float | None
    effect: float
    unit: str
    fixed: float | None = None

    @property
    def p_value(self) -> float:
        return math.exp(self.log_p_value)

    @property
    def rule(self) -> Rule | None:
        """By which drift is said; None where it is not."""
        if self.threshold and self.p_value <= self.threshold:
            return "budget"
        if self.fixed is not None and abs(self.effect) >= self.fixed:
            return "fixed_threshold"
        return None

    @property
    def drifted(self) -> bool:
        return self.rule is not None


@dataclass(frozen=True, slots=True)
class NotMeasured:
    why: str


DriftResult: TypeAlias = Measured | NotMeasured


@dataclass(frozen=True, slots=True)
class ChiSquaredTail:
    """The non-central distribution whose tails at the statistics are the p-values. Arrays with an entry per feature."""

    df: NDArray[np.int64]
    noncentrality: NDArray[np.float64]


Reasons: TypeAlias = Sequence[NotMeasured | None]
"""Of each feature why it cannot be measured, None where it can."""


@dataclass(frozen=True, slots=True)
class Findings:
    """
    What one test has found, in arrays with an entry per feature; those of a feature with a reason mean nothing. The
    names are Measured's. log_p_value: or the distribution that gives it; the tails of all tests are worked out at once.
    """

    statistic: NDArray[np.float64]
    log_p_value: NDArray[np.float64] | ChiSquaredTail
    effect: NDArray[np.float64]
    unit: str
    why: Reasons


def first_reason(*reasons: Reasons) -> Reasons:
    """The first of each feature's reasons, the most telling one first."""
    return [next(filter(None, of_feature), None) for of_feature in zip(*reasons, strict=True)]
