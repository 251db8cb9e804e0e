"""The drift tests and statistics of a user's own that a monitor names, loaded and held to what they promise."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tidegauge.drift.contract import check_drift_test
from tidegauge.drift_spec import Drift
from tidegauge.errors import InvalidExtension
from tidegauge.extensions import load_extension, what_failed
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.contract import check_statistic
from tidegauge.summaries.own_sums import STATISTIC_METHODS


def check_own(drift: Drift, statistics: Statistics) -> None:
    """
    Before the first window. Raises InvalidExtension, one line that names what cannot be loaded, or which promise it
    does not keep. After it, a fault in one is told in reports and stops nothing.
    """
    for name in drift.own.decide:
        _check(name, load_extension(name), _check_deciding)
    for name in drift.own.report:
        _check(name, load_extension(name), check_drift_test)
    for name in statistics.own:
        _check(name, load_extension(name, methods=STATISTIC_METHODS), check_statistic)


def _check(name: str, loaded: Any, check: Callable[[Any], None]) -> None:
    if not callable(loaded) or loaded.__hash__ is None:
        raise InvalidExtension(f"{name} is neither a function nor a class; see docs/extending.md")
    if why := _why_not(loaded, check):
        raise InvalidExtension(f"{name}: {why}; see docs/extending.md for what it must do")


@functools.lru_cache(maxsize=64)
def _why_not(loaded: Any, check: Callable[[Any], None]) -> str | None:
    try:
        check(loaded)
    except AssertionError as broken:
        return " ".join(str(broken).split())
    except Exception as error:  # noqa: BLE001 - it is the user's own code
        return f"fails while it is checked: {what_failed(error)}"
    return None


def _check_deciding(test: Any) -> None:
    check_drift_test(test, decides=True)
