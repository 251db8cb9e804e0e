"""
What every statistic of a user's own promises, as checks that anyone can run on a class of theirs:

    check_statistic(ShareBelowZero)

They raise AssertionError with a sentence that says what was promised and on which values it was not kept; whatever the
class itself raises passes through.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.summaries.own_sums import OwnStatistic, terms_of

Array = NDArray[np.float64]

_STEPS: Final = np.arange(1, 200)
_EVEN: Final = (_STEPS * np.sqrt(2.0)) % 1.0

_VALUES: Final = {
    "numbers on both sides of 0": np.log(_EVEN / (1 - _EVEN)),
    "positive numbers": _EVEN * 100.0 + 1e-3,
    "numbers around a billion": _EVEN + 1e9,
    "whole numbers": np.floor(_EVEN * 5),
    "booleans": np.where(_EVEN < 0.3, 1.0, 0.0),
    "one value": np.array([2.5]),
    "zeros": np.zeros(7),
    "numbers beyond all measure": np.array([1e300, -1e300, 1e-300]),
}


def check_statistic(kind: type[OwnStatistic]) -> None:
    """Raises AssertionError at the first promise that is not kept."""
    statistic = kind()
    none = terms_of(statistic, np.empty(0))
    for what, values in _VALUES.items():
        before = values.copy()
        with np.errstate(all="ignore"):
            terms = terms_of(statistic, values)
            alone = [terms_of(statistic, values[at : at + 1])[0] for at in range(len(values))]
            again = terms_of(kind(), values)
            value = statistic.value(terms.sum(axis=0), float(len(values)))
        _promise(_same(values, before), "values are left as they were", what)
        _promise(terms.shape[1:] == none.shape[1:], "always the same number of terms, without any rows, too", what)
        _promise(_same(terms, np.array(alone)), "a row's terms depend on that row alone", what)
        _promise(_same(terms, again), "the same values have the same terms", what)
        _promise(isinstance(value, (int, float, np.number)), "the value is a number", f"{what}: {value!r}")


def _same(left: Array, right: Array) -> bool:
    return np.array_equal(left, right, equal_nan=True)


def _promise(kept: bool, promise: str, seen: str) -> None:
    assert kept, f"{promise}: not so of {seen}"
