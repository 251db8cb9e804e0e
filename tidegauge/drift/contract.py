"""
What every drift test of a user's own promises, as checks that anyone can run on theirs:

    check_drift_test(upper_tail, decides=True)

They raise AssertionError with a sentence that says what was promised and on which bins it was not kept. Built-in tests
are held to the same and to more by the kernel's own tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift.own import FeatureTest, Finding, answer_of
from tidegauge.drift.results import Array, Counts, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, FeatureBins
from tidegauge.features import Kind

LEVEL_ASKED_FOR: Final = 0.05
LEVEL: Final = AlarmLevel(window=LEVEL_ASKED_FOR, baseline=0.005, minimum_effect=0.0)

_TRUTHS: Final[tuple[tuple[str, Kind, Array], ...]] = (
    ("a number", "numeric", np.array([0.0, *[0.055] * 18, 0.0, 0.01])),
    ("a number with ties", "numeric", np.array([0.0, 0.5, 0.2, 0.15, 0.1, 0.05, 0.0, 0.0])),
    ("a boolean", "boolean", np.array([0.0, 0.8, 0.2, 0.0, 0.0])),
    ("a category", "categorical", np.array([0.0, 0.6, 0.2, 0.1, 0.05, 0.03, 0.02])),
)
"""Name, kind, shares of the bins, missing last."""

_SAMPLES: Final = ((500, 5000, 1), (5000, 1000, 1), (20_000, 300, 9))
"""Rows of the baseline, rows of a window, and how often each of these is repeated."""

_WINDOWS: Final = 100

_MOST_ALARMS: Final = 15
"""Of 100 windows at a level of 5 %: a test that keeps its level has more in 1 of 27,000 cases."""

_CERTAIN: Final = 1e-6


def check_drift_test(test: FeatureTest, *, decides: bool = False) -> None:
    """Raises AssertionError at the first promise that is not kept. decides: its p-values are to raise alarms."""
    for what, bins in _odd_bins():
        first, second = (_answer(test, bins, what, decides=decides) for _ in range(2))
        _promise(first == second, "the same bins have the same answer", f"{what}: {first}, then {second}")
    for what, kind, shares in _TRUTHS:
        counts = np.round(20_000 * shares).astype(np.int64)
        found = _answer(test, _bins(kind, counts, counts), what, decides=decides)
        _promise(_p_value(found) > LEVEL_ASKED_FOR, "the baseline itself has not drifted", f"{what}: {found}")
    if decides:
        _check_level(test)
        _check_power(test)


def _check_level(test: FeatureTest) -> None:
    """Of windows from the baseline's own source; each with a baseline of its own, whose error they are not to alarm."""
    for what, kind, shares in _TRUTHS:
        for reference_rows, rows, copies in _SAMPLES:
            level = LEVEL.scaled(float(copies))
            samples = zip(_drawn(shares, reference_rows, first=0), _drawn(shares, rows, first=1 << 32), strict=True)
            answers = [
                _answer(test, _bins(kind, reference, window * copies), what, level=level, decides=True)
                for reference, window in samples
            ]
            alarms = sum(_p_value(answer) <= LEVEL_ASKED_FOR for answer in answers)
            seen = (
                f"{what}, {reference_rows} rows of baseline, {rows * copies} of the window, dispersion {copies}: "
                f"{alarms} of {_WINDOWS} windows without drift have one"
            )
            _promise(alarms <= _MOST_ALARMS, "p-values of 5 % are as rare as that", seen)


def _check_power(test: FeatureTest) -> None:
    """A test that never alarms keeps every level, and takes its share of the budget for nothing."""
    for _, kind, shares in _TRUTHS:
        counts = np.round(20_000 * shares).astype(np.int64)
        for place in range(len(counts)):
            window = np.zeros(len(counts), dtype=np.int64)
            window[place] = 5000
            found = _answer(test, _bins(kind, counts, window), "all rows in one bin", decides=True)
            if _p_value(found) <= _CERTAIN:
                return
    _promise(False, "of windows with all rows in one bin, whichever, some have a p-value of 1e-6 or below", None)


def _p_value(answer: Finding | NotMeasured) -> float:
    return 1.0 if isinstance(answer, NotMeasured) or answer.p_value is None else answer.p_value


def _drawn(shares: Array, rows: int, *, first: int) -> list[NDArray[np.int64]]:
    """Counts of _WINDOWS samples, the same every time."""
    limits = np.cumsum(shares)
    uniform = [_mixed(first + rows * window, rows) for window in range(_WINDOWS)]
    return [np.bincount(np.searchsorted(limits, one * limits[-1], "right"), minlength=len(shares)) for one in uniform]


def _mixed(first: int, count: int) -> Array:
    """
    Numbers in [0, 1) that pass for independent ones: SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable
    pseudorandom number generators", figure 17). The kernel takes chance as an argument; here nobody has any to give.
    """
    with np.errstate(over="ignore"):
        mixed = np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    return np.asarray((mixed >> np.uint64(11)) / 2.0**53)


def _odd_bins() -> Iterator[tuple[str, FeatureBins]]:
    one = np.array([0, 900, 0, 0])
    yield "a constant", _bins("numeric", one, one)
    yield "a constant that changed", _bins("numeric", one, np.array([0, 500, 300, 100]))
    yield "a window without values", _bins("numeric", np.array([0, 50, 50, 9]), np.array([0, 0, 0, 400]))
    yield "no missing value in the baseline", _bins("boolean", np.array([0, 90, 9, 0, 0]), np.array([0, 9, 9, 0, 200]))
    yield "values out of range alone", _bins("numeric", np.array([0, 50, 50, 0, 1]), np.array([150, 0, 0, 150, 0]))
    yield "unseen categories alone", _bins("categorical", np.array([0, 50, 50, 0]), np.array([500, 0, 0, 0]))
    yield "500 categories", _bins("categorical", np.arange(502), np.arange(502)[::-1].copy())
    yield "weighted rows", _bins("numeric", np.array([0, 500, 500, 0]), np.array([0.25, 200.5, 301.75, 0.5]))
    yield "a billion rows", _bins("numeric", np.array([0, 500, 500, 0]), np.array([0, 10**9, 10**9 + 7, 0]))
    yield "a small baseline", _bins("numeric", np.array([0, 1, 1, 0]), np.array([0, 800, 200, 0]))


def _bins(kind: Kind, reference: Counts, window: Counts) -> FeatureBins:
    places = np.linspace(-1.0, 1.0, len(reference) - 1)
    return FeatureBins("x", kind, reference, window, None if kind == "categorical" else places)


def _answer(
    test: FeatureTest, bins: FeatureBins, what: str, *, level: AlarmLevel = LEVEL, decides: bool
) -> Finding | NotMeasured:
    failed: list[Exception] = []
    answer = answer_of(test, bins, level, decides=decides, told=failed.append)
    _promise(not failed, "an answer to any bins", f"{what}: {failed}")
    return answer


def _promise(kept: bool, promise: str, seen: object) -> None:
    assert kept, f"{promise}: not so{'' if seen is None else f', seen {seen}'}"
