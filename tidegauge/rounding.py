"""Numbers rounded to what is left of them without the last bits, which another processor may compute otherwise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DIGITS = 12


def significant(values: Array) -> Array:
    """To 12 significant digits."""
    return np.array([float(f"{value:.{DIGITS}g}") for value in values.tolist()], dtype=np.float64)


def significant_beside(values: Array, scales: Array) -> Array:
    """
    Each to a 12th digit of its scale, > 0: a mean may lie 1e9 standard deviations from 0 and lose none of them. Where
    the scale is 0, to 12 significant digits of its own.
    """
    rounded = significant(values)
    for position in np.flatnonzero(scales > 0).tolist():
        digits = DIGITS - 1 - math.floor(math.log10(scales[position]))
        rounded[position] = round(float(values[position]), digits)
    return rounded
