"""What a drift test answers. "Cannot say" is a type of its own: it is shown, never an alarm and never hidden."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

Rule: TypeAlias = Literal["budget", "fixed_threshold"]


@dataclass(frozen=True, slots=True)
class Measured:
    """
    p_value: of the interval null, that the window is no further from the baseline than what the baseline's own
    uncertainty or the minimum effect allows; log_p_value: its natural logarithm, which ranks what underflows.
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
