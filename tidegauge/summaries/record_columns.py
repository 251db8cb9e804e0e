"""Numbers of many records gathered into columns, each value with the weight of its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """matrix: (rows, names), NaN = none. weights: of the rows, None where every one is 1."""

    names: tuple[str, ...]
    matrix: Array
    weights: Array | None = None

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[Any]], weights: Array | None = None) -> Columns:
        """All of one length. Raises ValueError or TypeError for what is no number; infinite ones become NaN."""
        matrix = np.array(list(columns.values()), dtype=np.float64).reshape(len(columns), -1).T
        return cls(tuple(columns), np.where(np.isfinite(matrix), matrix, np.nan), weights)


def spread(weights: Array | None, lengths: Sequence[int]) -> Array | None:
    """Weights of records as those of their rows. lengths: rows of each record."""
    return None if weights is None else np.repeat(weights, lengths)


def per_row(prefix: str, of_records: Sequence[Mapping[str, Sequence[Any]]], weights: Array | None) -> list[Columns]:
    """
    Values by name, one per row: one Columns for all names that have values for the same rows. of_records: of each
    record, {name: values}. Raises TypeError, ValueError or AttributeError for what is not so.
    """
    alike: dict[tuple[int, ...], dict[str, list[Any]]] = {}
    for name in sorted(set[str]().union(*of_records)):
        lists = [named.get(name, ()) for named in of_records]
        alike.setdefault(tuple(map(len, lists)), {})[prefix + name] = list(chain.from_iterable(lists))
    return [Columns.of(columns, spread(weights, lengths)) for lengths, columns in alike.items()]
