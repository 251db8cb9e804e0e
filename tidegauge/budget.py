"""
The user's false-alarm budget, spread over everything that may raise one.

"1 per 30d" is divided evenly (Bonferroni) over the windows of the period, the features and the deciding tests. The
baseline's own sampling error is the same in every window: it is no noise that averages out but one draw, paid once with
BASELINE_RISK over features and tests.
"""

from __future__ import annotations

from typing import Final

from tidegauge.drift import DRIFT_TESTS
from tidegauge.drift.window_bins import AlarmLevel
from tidegauge.monitor import Drift, Windows

BASELINE_RISK: Final = 0.01
"""Probability that the baseline sample lies further from the truth than the null interval allows for it."""


def alarm_level(test: str, *, drift: Drift, windows: Windows, features: int) -> AlarmLevel:
    """What one test of one feature in one window may spend."""
    windows_in_period = max(1.0, drift.false_alarms.period_s * 1000 / windows.slide_ms)
    decisions = features * len(DRIFT_TESTS)
    return AlarmLevel(
        window=min(drift.false_alarms.alarms / (windows_in_period * decisions), 0.5),
        baseline=BASELINE_RISK / decisions,
        minimum_effect=drift.minimum_effect[test],
    )
