"""Tail of the normal distribution, as a logarithm that never underflows, and its inverse."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

_NORMAL: Final = NormalDist()


def log_survival(z: float) -> float:
    """Natural logarithm of P(N >= z)."""
    if z < 30:
        return math.log(math.erfc(z / math.sqrt(2)) / 2)
    # Mills' ratio to three terms: a relative error below 1e-7 from 30 on.
    square = z * z
    return -square / 2 - math.log(z * math.sqrt(2 * math.pi)) + math.log1p(-1 / square + 3 / square**2)


def log_survivals(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([log_survival(one) for one in z.tolist()])


@functools.lru_cache(maxsize=4096)
def inverse_survival(p: float) -> float:
    """The z with P(N >= z) = p; 0 for p from 1/2 on."""
    return -_NORMAL.inv_cdf(p) if p < 0.5 else 0.0


def inverse_survivals(p: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([inverse_survival(one) for one in np.atleast_1d(p).tolist()])
