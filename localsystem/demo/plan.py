"""What the demonstration sends and when: pure, and the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from localsystem.dataset import LabelledRows
from localsystem.errors import LocalSystemError
from tidegauge.dispersion import LEARNING_PAIRS
from tidegauge.scenarios import Scenario, replay_order, shift_and_spread

WINDOW_S: Final = 5
WATERMARK_S: Final = 2
WINDOWS_BEFORE: Final = LEARNING_PAIRS + 2
"""At least so many windows before the drift: those that how windows vary is learnt from, and one to see no alarm in."""
WINDOWS_AFTER: Final = 3
"""At least so many from the drift on, to see an alarm in."""
SHARE_BEFORE: Final = 0.6

SHIFTED: Final = {"f3": 0.5}
"""Feature: standard deviations. Not f2, f4 or f6, nearly constant with rare huge values: their standard deviation is
many times the width of their distribution, so a shift by half of it would be no small change."""
SPREAD: Final = {"f8": 1.5}


@dataclass(frozen=True)
class Schedule:
    """Times in seconds from the first request, which is sent at the beginning of a window."""

    traffic_s: int
    drift_after_s: int
    rate: int
    """Requests per second, evenly spaced."""

    @property
    def requests(self) -> int:
        return self.traffic_s * self.rate

    @property
    def first_drifted(self) -> int:
        return self.drift_after_s * self.rate


def make_schedule(*, seconds: int, rate: int) -> Schedule:
    """Whole windows only; the drift begins with a window. Raises LocalSystemError when there is too little time."""
    windows = seconds // WINDOW_S
    if windows < WINDOWS_BEFORE + WINDOWS_AFTER:
        raise LocalSystemError(
            f"{seconds} seconds are too few: the demo needs at least {(WINDOWS_BEFORE + WINDOWS_AFTER) * WINDOW_S}, "
            f"for {WINDOWS_BEFORE} windows of {WINDOW_S} s before the drift and {WINDOWS_AFTER} after it"
        )
    if rate < 1:
        raise LocalSystemError(f"a rate of {rate} requests/s sends nothing: give at least 1")
    before = max(WINDOWS_BEFORE, min(round(SHARE_BEFORE * windows), windows - WINDOWS_AFTER))
    return Schedule(traffic_s=windows * WINDOW_S, drift_after_s=before * WINDOW_S, rate=rate)


@dataclass(frozen=True)
class Traffic:
    """
    One entry a request, in the order of sending.

    anomaly: the data set's own labels, bool (requests,). bodies: v1 requests of one row each.
    """

    ids: tuple[str, ...]
    bodies: tuple[bytes, ...]
    anomaly: NDArray[np.bool_]
    scenario: Scenario


def make_traffic(schedule: Schedule, *, baseline: LabelledRows, held_out: LabelledRows, seed: int) -> Traffic:
    """Held-out rows in random order; from the drift on, the scenario's change is applied to every row."""
    order = replay_order(np.random.default_rng(seed), available=len(held_out.rows), count=schedule.requests)
    scenario = shift_and_spread(baseline.rows, baseline.names, shifted=SHIFTED, spread=SPREAD)
    rows = held_out.rows[order]
    rows[schedule.first_drifted :] = scenario.apply(rows[schedule.first_drifted :], held_out.names)
    return Traffic(
        ids=tuple(f"demo-{number:06d}" for number in range(schedule.requests)),
        bodies=tuple(orjson.dumps({"instances": [row]}) for row in rows.tolist()),
        anomaly=held_out.anomaly[order],
        scenario=scenario,
    )
