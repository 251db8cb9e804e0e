"""A sample of rows in one pass: spread evenly over all of them, bounded, and the same for the same rows."""

from __future__ import annotations

from typing import Final

import numpy as np

from tidegauge.features import Matrix

GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio: multiples of it are spread evenly and follow no period that a file may have."""


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
        numbers = np.arange(self._seen + 1, self._seen + rows + 1, dtype=np.uint64)
        self._seen += rows
        places = (numbers * GOLDEN) / 2.0**64
        kept = places < self._threshold
        self._places.append(places[kept])
        self._rows.append(np.ascontiguousarray(columns[:, kept].T))
        while self._held() > 2 * self._most:
            self._thin(self._threshold / 2)

    def rows(self) -> Matrix:
        """(sampled rows, width), C-contiguous, in the order they came: `most` of them, or a few more or less."""
        if self._seen > self._most:
            self._thin(min(self._threshold, self._most / self._seen))
        return np.concatenate(self._rows)

    def _held(self) -> int:
        return sum(len(places) for places in self._places)

    def _thin(self, threshold: float) -> None:
        self._threshold = threshold
        first, *rows = self._rows
        self._rows = [first, *(part[places < threshold] for part, places in zip(rows, self._places, strict=True))]
        self._places = [places[places < threshold] for places in self._places]
