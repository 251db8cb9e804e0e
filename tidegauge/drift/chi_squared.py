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
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

_BELOW: Final = 24.0
_ABOVE: Final = 36.0
"""
Standard deviations of the Poisson weights that are summed, beside _MARGIN terms. What lies further below counts only
where the tail is certain; as far above, what counts in a tail of 1e-250 is found.
"""

_PAST: Final = 12.0
"""The same of a term's own Poisson probability: the weights fall, so no more than 1e-30 of the sum lies beyond."""

_MARGIN: Final = 40

_PAST_PEAK: Final = 16
"""
As _MARGIN, beside _PAST standard deviations, of the peak: where both terms and weights fall from then on. Beyond the
mean a term with its weight is y mean / (a j) of the one before, as in a Bessel function's series: the peak has 1 there.
"""

_CERTAIN: Final = 40.0
"""e^-40 is less than half of what the last digit of 1 is worth."""

_SMALLEST: Final = 1e-250
"""Below it the logarithm comes from the tail's asymptotic form: it ranks, it decides nothing."""

_TERMS_AT_ONCE: Final = 1 << 19
"""4 MB an array."""


def survival(x: float, df: int) -> float:
    """P(chi2_df >= x) for df >= 1."""
    y = x / 2
    if y <= 0:  # half of the smallest double is 0, too
        return 1.0
    first = math.erfc(math.sqrt(y)) if df % 2 else math.exp(-y)
    degrees = np.arange(1 if df % 2 else 2, df, 2)
    logs = degrees * (math.log(y) / 2) - _log_factorials(df)[degrees] - y
    return min(first + float(np.exp(logs).sum()), 1.0)


def noncentral_survival(x: float, df: int, noncentrality: float) -> float:
    """P(chi2'_df(noncentrality) >= x); 0 below the smallest double."""
    return math.exp(log_survival(x, df, noncentrality))


def log_survival(x: float, df: int, noncentrality: float) -> float:
    """As log_survivals has it, of one."""
    return float(log_survivals(np.array([x]), df, noncentrality)[0])


def log_survivals(x: Array, df: Whole | int, noncentrality: ArrayLike) -> Array:
    """
    Natural logarithms of P(chi2'_df(noncentrality) >= x), -infinity for no x: to 1e-9 while the tail is above 1e-250,
    below it by the asymptotic form, good to a part in a hundred. df, noncentrality: one for each x, or one for all.
    """
    x, df, noncentrality = np.broadcast_arrays(x, df, noncentrality)
    mean, spread = df + noncentrality, df + 2 * noncentrality
    # Both bounds: Birge 2001, "An alternative point of view on Lepski's method", lemma 8.1.
    certain = (x / 2 <= 0) | ((x < mean) & ((mean - x) ** 2 > 4 * spread * _CERTAIN))
    near = np.flatnonzero(~certain & (x < mean + 2 * np.sqrt(spread * 700) + 2 * 700))
    tails = np.where(certain, 1.0, 0.0)
    for part in _parts(near, df, noncentrality):
        tails[part] = _tails(x[part] / 2, df[part], noncentrality[part] / 2)
    logs = np.log(np.clip(tails, _SMALLEST, 1.0))
    for at in np.flatnonzero(tails <= _SMALLEST).tolist():
        logs[at] = _far_log_survival(float(x[at]), int(df[at]), float(noncentrality[at]))
    return np.asarray(logs)


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


def inverse_survivals(p: float | Array, df: Whole) -> Array:
    """p: one for each df, or one for all."""
    return np.array(list(map(inverse_survival, np.broadcast_to(p, df.shape).tolist(), df.tolist())))


def _parts(chosen: NDArray[np.intp], df: Whole, noncentrality: Array) -> list[NDArray[np.intp]]:
    """Of much the same size each, and none larger than memory should hold at once."""
    if not len(chosen):
        return []
    terms = df[chosen] + noncentrality[chosen] + _ABOVE * np.sqrt(noncentrality[chosen]) + _MARGIN
    sizes = np.frexp(terms)[1]
    parts: list[NDArray[np.intp]] = []
    for size in sorted(set(sizes.tolist())):
        alike = chosen[sizes == size]
        parts += np.array_split(alike, math.ceil(len(alike) * 2.0**size / _TERMS_AT_ONCE))
    return parts


def _tails(y: Array, df: Whole, mean: Array) -> Array:
    """
    The Poisson mixture of the central tails with df, df + 2, df + 4 ... degrees, mean: the Poisson variable's. Each is
    the one before plus y^a e^-y / Gamma(a + 1), a half its degrees, so such a term, the j-th, counts with the
    probability that the variable is larger than j. Those below the 0th make up the first tail, and count whole.

    Each tail is the same to the last bit, whichever others are worked out beside it: of the terms that these need it
    has none, and terms are added up one after the other.
    """
    first = np.zeros(len(y))
    odd = np.flatnonzero(df % 2)
    first[odd] = [math.erfc(root) for root in np.sqrt(y[odd]).tolist()]
    lowest = np.floor(np.maximum(-(df // 2), mean - _BELOW * np.sqrt(df / 4 + mean) - _MARGIN))
    past = np.minimum(mean + _ABOVE * np.sqrt(mean), y - df / 2 + _PAST * np.sqrt(y)) + _MARGIN
    peak = np.maximum(mean, np.sqrt((df / 4) ** 2 + y * mean) - df / 4)
    past = np.ceil(np.minimum(past, peak + _PAST * np.sqrt(peak) + _PAST_PEAK))
    j = np.arange(int(lowest.min()), max(int(past.max()), 0) + 1)
    degrees, logs, which = _by_distribution(df, mean, j)
    terms = degrees.take(which, axis=1)
    terms *= np.log(y) / 2
    terms += logs.take(which, axis=1)
    terms -= y
    terms[(j[:, None] < lowest) | (j[:, None] > past)] = -np.inf
    np.exp(terms, out=terms)
    return np.asarray(first + _added_up(terms))


def _added_up(terms: Array) -> Array:
    """(terms, tails): of each tail from the first on, where numpy's sum of a single column would add halves."""
    return np.asarray(terms.sum(axis=0) if terms.shape[1] > 1 else np.cumsum(terms, axis=0)[-1])


def _by_distribution(df: Whole, mean: Array, j: Whole) -> tuple[Array, Array, NDArray[np.intp]]:
    """
    Many tails are of few distributions: what depends on these alone is worked out once for each. (j, distributions):
    the degrees of freedom, and the logarithm of what a term has beside y^a e^-y; and each tail's distribution.
    """
    dfs, of_df = np.unique(df, return_inverse=True)
    means, of_mean = np.unique(mean, return_inverse=True)
    distinct, which = np.unique(of_df * len(means) + of_mean, return_inverse=True)
    degrees = dfs[distinct // len(means)] + 2 * j[:, None]
    factorials = _log_factorials(int(degrees.max()))[np.maximum(degrees, 0)]
    factorials[degrees < 0] = np.inf  # terms that there are not
    with np.errstate(divide="ignore"):
        weights = np.log(_weights(means, j))[:, distinct % len(means)]
    return degrees.astype(np.float64), weights - factorials, which


def _weights(means: Array, j: Whole) -> Array:
    """(j, means): P(Poisson(mean) > j). means: in order."""
    ends = np.floor(means + _ABOVE * np.sqrt(means)) + _MARGIN + 1
    highest = max(int(ends[-1]), int(j[-1]) + 1)
    all_j = np.arange(max(int(j[0]), 0), highest + 1)[:, None]
    logs = np.log(np.maximum(means, 1e-300))
    probabilities = np.exp(all_j * logs - means - _log_factorials(2 * highest)[2 * all_j])
    probabilities[all_j > ends] = 0.0
    above = np.cumsum(probabilities[::-1], axis=0)[::-1][1:]
    whole = np.ones((max(-int(j[0]), 0), len(means)))
    return np.concatenate([whole, np.minimum(above, 1.0)])[: len(j)]


def _log_factorials(highest: int) -> Array:
    """log Gamma(t / 2 + 1) for t = 0 ... highest at least."""
    return _log_factorials_to(1 << highest.bit_length())


@functools.lru_cache(maxsize=32)
def _log_factorials_to(count: int) -> Array:
    return np.array([math.lgamma(t / 2 + 1) for t in range(count)])


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
