"""A sample of rows in one pass: spread evenly over all of them, bounded, and the same for the same rows."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.features import Matrix

GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio."""


def places(rows: int, *, after: int = 0) -> NDArray[np.float64]:
    """
    One number in [0, 1) for each of the rows that follow `after` others, the same for the same rows: the fractional
    parts of multiples of the golden ratio are spread evenly over any stretch and follow no period that a file may have.
    """
    return np.asarray((np.arange(after + 1, after + rows + 1, dtype=np.uint64) * GOLDEN) / 2.0**64)


class EvenSample:
    """
    Takes columns (width, rows) and keeps rows whose place in the golden-ratio sequence is below a threshold, which
    falls as rows come. Never holds more than twice `most` rows and a block. `most` or fewer rows are all kept.
    """

    def __init__(self, width: int, most: int) -> None:
        self._most = most
        self._seen = 0
        self._threshold = 1.0
        self._places: list[Matrix] = []
        self._rows: list[Matrix] = [np.empty((0, width))]

    def add(self, columns: Matrix) -> None:
        rows = columns.shape[1]
        place = places(rows, after=self._seen)
        self._seen += rows
        kept = place < self._threshold
        self._places.append(place[kept])
        self._rows.append(np.ascontiguousarray(columns[:, kept].T))
        while self._held() > 2 * self._most:
            self._thin(self._threshold / 2)

    def rows(self) -> Matrix:
        """(sampled rows, width), C-contiguous, in the order they came: `most` of them, or a few more or less."""
        if self._seen > self._most:
            self._thin(min(self._threshold, self._most / self._seen))
        return np.concatenate(self._rows)

    def _held(self) -> int:
        return sum(len(place) for place in self._places)

    def _thin(self, threshold: float) -> None:
        self._threshold = threshold
        first, *rows = self._rows
        self._rows = [first, *(part[place < threshold] for part, place in zip(rows, self._places, strict=True))]
        self._places = [place[place < threshold] for place in self._places]
