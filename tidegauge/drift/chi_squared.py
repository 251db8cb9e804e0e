"""
Upper tails of the chi-squared distribution, central and not, to full precision far beyond 1e-16.

With whole degrees of freedom both are finite or fast sums of positive terms (Johnson, Kotz and Balakrishnan 1995,
"Continuous Univariate Distributions" 2, sections 18.2 and 29.4), so nothing cancels where p-values are tiny.
"""

from __future__ import annotations

import functools
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

_WIDTH: Final = 12.0
"""Standard deviations of the Poisson weights that are summed: less than 1e-30 of them lies outside."""


def survival(x: float, df: int) -> float:
    """P(chi2_df >= x) for df >= 1."""
    return noncentral_survival(x, df, 0.0)


def noncentral_survival(x: float, df: int, noncentrality: float) -> float:
    """P(chi2'_df(noncentrality) >= x): the Poisson mixture of central tails with df, df + 2, df + 4 ... degrees."""
    if x / 2 <= 0:  # half of the smallest double is 0, too
        return 1.0
    mean = noncentrality / 2
    spread = _WIDTH * math.sqrt(mean) + 40 if mean else 0
    lowest, highest = max(0, int(mean - spread)), int(mean + spread)
    tails = _central_tails(x, df, highest)[lowest:]
    return min(1.0, float((_poisson(mean, lowest, highest) * tails).sum()))


@functools.lru_cache(maxsize=4096)
def inverse_survival(p: float, df: int) -> float:
    """The x with P(chi2_df >= x) = p, to 1e-12 relative."""
    low, high = 0.0, df + 10.0
    while survival(high, df) > p:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if survival(middle, df) > p else (low, middle)
    return (low + high) / 2


def _central_tails(x: float, df: int, highest: int) -> NDArray[np.float64]:
    """P(chi2_{df + 2j} >= x) for j = 0 ... highest, by Q(a + 1, y) = Q(a, y) + y^a e^-y / Gamma(a + 1)."""
    y = x / 2
    odd = df % 2
    first = math.erfc(math.sqrt(y)) if odd else math.exp(-y)
    steps = (df - 1) // 2 if odd else df // 2 - 1
    start = 0.5 if odd else 1.0
    a = start + np.arange(steps + highest, dtype=np.float64)
    tails = np.empty(len(a) + 1)
    tails[0] = first
    np.cumsum(np.exp(a * math.log(y) - y - _log_gamma(a + 1)), out=tails[1:])
    tails[1:] += first
    return tails[steps:]


def _poisson(mean: float, lowest: int, highest: int) -> NDArray[np.float64]:
    j = np.arange(lowest, highest + 1, dtype=np.float64)
    if mean == 0:
        return np.ones(len(j))
    return np.asarray(np.exp(j * math.log(mean) - mean - _log_gamma(j + 1)))


def _log_gamma(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of values that go up in steps of one, by the recursion from the first."""
    if not len(values):
        return values
    logs = np.empty(len(values))
    logs[0] = math.lgamma(values[0])
    np.cumsum(np.log(values[:-1]), out=logs[1:])
    logs[1:] += logs[0]
    return logs
