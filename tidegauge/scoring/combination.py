"""
Several detectors' surprises as one, which ranks rows and, conformalised, flags them.

Any fixed function of the surprises is as valid a conformity score as any other, so the choice is about power alone. The
sum (Fisher 1925, "Statistical Methods for Research Workers", section 21.1) dilutes a fault that one detector alone
sees; the maximum (Tippett 1931, "The Methods of Statistics") ignores what several see a little of. The norm of fourth
powers lies between, nearer to the maximum: two equal surprises count a fifth more than one, three a third more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from tidegauge.scoring.detector import Array


class Combination(Protocol):
    """Increasing in every surprise; of one row and of many the same to the last bit. Of one detector its own."""

    def of_row(self, surprises: Sequence[float]) -> float: ...

    def of_rows(self, surprises: Sequence[Array] | Array) -> Array:
        """surprises: one array (rows,) per detector, or all in one (detectors, rows)."""


class FourthPowerNorm:
    def of_row(self, surprises: Sequence[float]) -> float:
        if len(surprises) == 1:
            return surprises[0]
        total = 0.0
        for surprise in surprises:
            square = surprise * surprise
            total += square * square
        # Two square roots, which are rounded right in either case; a fourth root need not be.
        return math.sqrt(math.sqrt(total))

    def of_rows(self, surprises: Sequence[Array] | Array) -> Array:
        if len(surprises) == 1:
            return np.asarray(surprises[0])
        squares = np.square(surprises)
        total = np.add.reduce(np.square(squares, out=squares), axis=0)  # detector after detector, as of_row adds
        return np.asarray(np.sqrt(np.sqrt(total)))


class Maximum:
    def of_row(self, surprises: Sequence[float]) -> float:
        return max(surprises)

    def of_rows(self, surprises: Sequence[Array] | Array) -> Array:
        return np.asarray(np.max(surprises, axis=0))


COMBINATIONS: Final[Mapping[str, Combination]] = {
    "fourth_power_norm": FourthPowerNorm(),
    "maximum": Maximum(),  # of profiles of version 1
}
