"""What a drift test answers. "Cannot say" is a type of its own: it is shown, never an alarm and never hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Measured:
    """
    p_value: of the interval null, that the window is no further from the baseline than what the baseline's own
    uncertainty or the minimum effect allows. threshold: drifted means p_value <= threshold. statistic: the test's own,
    without unit; effect: the size of the change in `unit`.
    """

    statistic: float
    p_value: float
    threshold: float
    effect: float
    unit: str
    drifted: bool


@dataclass(frozen=True, slots=True)
class NotMeasured:
    why: str


DriftResult: TypeAlias = Measured | NotMeasured
