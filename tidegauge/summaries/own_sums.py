"""
Statistics of a user's own: sums over the rows of what their class makes of each value. docs/extending.md shows one.

Sums merge by adding, and take weights, so a class has to know of neither. It may fail in any way, and the fold goes on:
then the window has no such statistic, and says why.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import InvalidExtension
from tidegauge.extensions import load_extension, what_failed
from tidegauge.summaries.window_rows import WindowRows

Array = NDArray[np.float64]

MOST_TERMS: Final = 32
"""Of one statistic: a summary is to stay within 5 kB a feature."""

NOT_THROUGHOUT: Final = "was not measured in a part of the window"

STATISTIC_METHODS: Final = ("terms", "value")


class OwnStatistic(Protocol):
    """Made without arguments. One feature at a time, numeric or boolean."""

    def terms(self, values: Array) -> Any:
        """values: (rows,), none missing, perhaps no rows. (rows, terms), what is to be added up; 1 to MOST_TERMS."""

    def value(self, sums: Array, rows: float) -> float:
        """sums: (terms,) over the rows of a window that have a value; rows: how many, > 0; weighted ones, both."""


def load_statistic(name: str) -> OwnStatistic:
    """name: "module:Class". Raises InvalidExtension."""
    return _made(load_extension(name, methods=STATISTIC_METHODS))


@functools.lru_cache(maxsize=64)
def _made(kind: type[OwnStatistic]) -> OwnStatistic:
    return kind()


@dataclass(frozen=True)
class OwnSums:
    """
    By the statistic's name: sums, (numeric and boolean features, terms), weighted; failed: why there are none.
    """

    sums: Mapping[str, Array] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, data: WindowRows) -> OwnSums:
        sums, failed = {}, {}
        for name in data.statistics.own:
            try:
                sums[name] = _sums(load_statistic(name), data)
            except Exception as error:  # noqa: BLE001 - it is the user's own code
                failed[name] = str(error) if isinstance(error, InvalidExtension) else what_failed(error)
        return cls(sums, failed)

    def merge(self, other: OwnSums) -> OwnSums:
        sums: dict[str, Array] = {}
        failed: dict[str, str] = {}
        for name in sorted({*self.sums, *self.failed, *other.sums, *other.failed}):
            left, right = self.sums.get(name), other.sums.get(name)
            whys = [part.failed[name] for part in (self, other) if name in part.failed]
            if left is not None and right is not None and left.shape == right.shape:
                with np.errstate(over="ignore", invalid="ignore"):
                    sums[name] = left + right
            else:
                # The same one, in whatever order parts are merged.
                failed[name] = min(whys, default=NOT_THROUGHOUT)
        return OwnSums(sums, failed)

    def to_state(self) -> dict[str, Any]:
        return {"sums": dict(self.sums), "failed": dict(self.failed)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> OwnSums:
        sums = {str(name): np.array(values, dtype=np.float64) for name, values in state["sums"].items()}
        return cls(sums, {str(name): str(why) for name, why in state["failed"].items()})


def _sums(statistic: OwnStatistic, data: WindowRows) -> Array:
    columns = []
    for at in data.quantities:
        column = data.matrix[:, at]
        present = ~np.isnan(column)
        terms = terms_of(statistic, column[present])
        weights = np.ones(len(terms)) if data.weights is None else data.weights[present]
        with np.errstate(over="ignore", invalid="ignore"):
            columns.append(weights @ terms)
    return np.array(columns).reshape(len(columns), -1)


def terms_of(statistic: OwnStatistic, values: Array) -> Array:
    """(rows, terms). Raises ValueError for another shape."""
    with np.errstate(all="ignore"):
        terms = np.asarray(statistic.terms(values), dtype=np.float64)
    if terms.ndim == 1:
        terms = terms[:, None]
    if terms.ndim != 2 or len(terms) != len(values) or not 1 <= terms.shape[1] <= MOST_TERMS:
        raise ValueError(f"terms of shape {terms.shape} for {len(values)} values, expected (rows, 1 to {MOST_TERMS})")
    return terms
