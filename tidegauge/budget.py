"""
The user's false-alarm budget, spread over everything that may raise one.

"1 per 30d" is divided evenly (Bonferroni) over the windows of the period, the features and the deciding tests. The
baseline's own sampling error is the same in every window: it is no noise that averages out but one draw, paid once with
BASELINE_RISK over features and tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from tidegauge.drift import DRIFT_TESTS
from tidegauge.drift.window_bins import AlarmLevel
from tidegauge.drift_spec import Drift
from tidegauge.monitor import Windows

BASELINE_RISK: Final = 0.01
"""Probability that the baseline sample lies further from the truth than the null interval allows for it."""

_SMIRNOV_PER_SD: Final = 0.3989
"""Kolmogorov-Smirnov distance of a normal distribution from itself, moved by a small part of its standard deviation."""


SpendingState: TypeAlias = Literal["spending", "learning", "too_few_rows"]


@dataclass(frozen=True, slots=True)
class Spending:
    """
    What one window's verdict may cost of the budget. All but the counts of windows in expected false alarms: alarms per
    period_s: the budget; per_window, per_decision: its share for one window, and for one test of one feature in it;
    this_window: what this one may have cost, nothing unless the state is "spending"; spent: by all windows judged so
    far, this one included.
    learnt_windows of learning_windows: how much of the traffic's own variation has been seen before this window.
    """

    state: SpendingState
    alarms: float
    period_s: float
    per_window: float
    per_decision: float
    this_window: float
    spent: float
    learnt_windows: int
    learning_windows: int


@dataclass(frozen=True, slots=True)
class Budget:
    """decisions: tests that may raise an alarm in one window, over all features."""

    drift: Drift
    windows: Windows
    decisions: int

    @classmethod
    def over(cls, features: int, *, drift: Drift, windows: Windows) -> Budget:
        return cls(drift, windows, features * (len(DRIFT_TESTS) + len(drift.own.decide)))

    @property
    def per_window(self) -> float:
        """Expected false alarms that one window may spend; overlapping windows each do."""
        allowed = self.drift.false_alarms
        return allowed.alarms / max(1.0, allowed.period_s * 1000 / self.windows.slide_ms)

    @property
    def per_decision(self) -> float:
        return min(self.per_window / self.decisions, 0.5)

    def level(self, test: str, *, learning: bool = False) -> AlarmLevel:
        """learning: nothing may be spent."""
        return self.levels([test], learning=learning)[test]

    def levels(self, tests: Iterable[str], *, learning: bool = False) -> dict[str, AlarmLevel]:
        """By test."""
        spendable, minimum = 0.0 if learning else self.per_decision, minimum_effects(self.drift)
        return {
            test: AlarmLevel(
                window=spendable if test in DRIFT_TESTS or test in self.drift.own.decide else None,
                baseline=BASELINE_RISK / self.decisions,
                minimum_effect=minimum.get(test, 0.0),
                fixed=self.drift.thresholds.get(test),
            )
            for test in tests
        }


def minimum_effects(drift: Drift) -> dict[str, float]:
    """
    By test, in its unit; 0 where there is none. The user sets those of the deciding tests, and of their own ones; the
    others' are the same changes to them.
    """
    divergence, location = drift.minimum_effect["jensen_shannon"], drift.minimum_effect["location"]
    of_the_same_change = {
        "psi": 8 * divergence,
        "kullback_leibler": 4 * divergence,
        "hellinger": math.sqrt(divergence),
        "chi_squared": 8 * divergence,
        "wasserstein": location,
        "kolmogorov_smirnov": _SMIRNOV_PER_SD * location,
    }
    return {**of_the_same_change, **drift.minimum_effect}
