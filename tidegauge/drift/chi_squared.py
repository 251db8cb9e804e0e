"""
Upper tails of the chi-squared distribution, central and not, to full precision far beyond 1e-16, and their logarithms.

With whole degrees of freedom both are finite or fast sums of positive terms (Johnson, Kotz and Balakrishnan 1995,
"Continuous Univariate Distributions" 2, sections 18.2 and 29.4), so nothing cancels where p-values are tiny.
"""

from __future__ import annotations

import functools
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BELOW: Final = 12.0
_ABOVE: Final = 36.0
"""
Standard deviations of the Poisson weights that are summed: less than 1e-30 of them lies below, and as far above what
counts in a tail of 1e-250 is found.
"""

_CERTAIN: Final = 40.0
"""e^-40 is less than half of what the last digit of 1 is worth."""

_SMALLEST: Final = 1e-250
"""Below it the logarithm comes from the tail's asymptotic form: it ranks, it decides nothing."""


def survival(x: float, df: int) -> float:
    """P(chi2_df >= x) for df >= 1."""
    return noncentral_survival(x, df, 0.0)


def noncentral_survival(x: float, df: int, noncentrality: float) -> float:
    """P(chi2'_df(noncentrality) >= x); 0 below the smallest double."""
    return math.exp(log_survival(x, df, noncentrality))


def log_survival(x: float, df: int, noncentrality: float) -> float:
    """
    Natural logarithm of P(chi2'_df(noncentrality) >= x), -infinity for no x: to 1e-9 while the tail is above 1e-250,
    below it by the asymptotic form, good to a part in a hundred.
    """
    y = x / 2
    if y <= 0:  # half of the smallest double is 0, too
        return 0.0
    mean, spread = df + noncentrality, df + 2 * noncentrality
    # Both bounds: Birge 2001, "An alternative point of view on Lepski's method", lemma 8.1.
    if x < mean and (mean - x) ** 2 > 4 * spread * _CERTAIN:
        return 0.0
    if x < mean + 2 * math.sqrt(spread * 700) + 2 * 700:
        tail = _tail(y, df, noncentrality)
        if tail > _SMALLEST:
            return math.log(min(tail, 1.0))
    return _far_log_survival(x, df, noncentrality)


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


def _tail(y: float, df: int, noncentrality: float) -> float:
    """
    The Poisson mixture of the central tails with df, df + 2, df + 4 ... degrees. Each is the one before plus
    y^a e^-y / Gamma(a + 1), so such a term counts with the probability that the Poisson variable lies beyond it.
    """
    first = math.erfc(math.sqrt(y)) if df % 2 else math.exp(-y)
    a, log_factorials, weights = _terms(df, noncentrality)
    return first + float(np.exp(a * math.log(y) - log_factorials - y) @ weights)


@functools.lru_cache(maxsize=256)
def _terms(df: int, noncentrality: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """a, log Gamma(a + 1) and the weight of each term: the same for all tests of a window that share a null."""
    central = (df - 1) // 2 if df % 2 else df // 2 - 1
    beyond = _poisson_tails(noncentrality / 2)
    a = (0.5 if df % 2 else 1.0) + np.arange(central + len(beyond), dtype=np.float64)
    return a, _log_gamma(a + 1), np.concatenate([np.ones(central), beyond])


@functools.lru_cache(maxsize=64)
def _poisson_tails(mean: float) -> NDArray[np.float64]:
    """P(Poisson(mean) > j) for j = 0, 1 ... as far as it counts; nothing for mean 0."""
    if mean == 0:
        return np.empty(0)
    spread = math.sqrt(mean)
    lowest, highest = max(0, int(mean - _BELOW * spread - 40)), int(mean + _ABOVE * spread + 40)
    j = np.arange(lowest, highest + 1, dtype=np.float64)
    probabilities = np.exp(j * math.log(mean) - mean - _log_gamma(j + 1))
    at_least = np.minimum(np.cumsum(probabilities[::-1])[::-1], 1.0)
    return np.concatenate([np.ones(lowest), at_least[1:]])


def _far_log_survival(x: float, df: int, noncentrality: float) -> float:
    """The density's tail with its first-order integral; the Bessel function by Debye's uniform expansion."""
    z = math.sqrt(noncentrality * x)
    if z < 1:
        half = df / 2
        return min(0.0, (half - 1) * math.log(x / 2) - x / 2 - math.lgamma(half))
    order = abs(df / 2 - 1)
    root = math.hypot(order, z)
    bessel = root + order * math.log(z / (order + root)) - math.log(2 * math.pi * root) / 2
    density = bessel - (x + noncentrality) / 2 + (df / 4 - 0.5) * math.log(x / noncentrality)
    return min(0.0, density - math.log1p(-math.sqrt(noncentrality / x)))


def _log_gamma(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of values that go up in steps of one, by the recursion from the first."""
    if not len(values):
        return values
    logs = np.empty(len(values))
    logs[0] = math.lgamma(values[0])
    np.cumsum(np.log(values[:-1]), out=logs[1:])
    logs[1:] += logs[0]
    return logs
