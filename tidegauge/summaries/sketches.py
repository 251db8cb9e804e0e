"""
Values of many columns, to find quantiles in: all of them while they are few, then a sketch of each column.

Sketches are Apache DataSketches' KLL (Karnin, Lang and Liberty 2016, "Optimal quantile approximation in streams"), in
single precision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
from datasketches import kll_floats_sketch, vector_of_kll_floats_sketches
from numpy.typing import NDArray

Array = NDArray[np.float64]
Singles = NDArray[np.float32]

K: Final = 200
"""About 2.3 kB a sketch, and a rank error of 1.33 % in 99 of 100 cases."""

RANK_ERROR: Final = float(kll_floats_sketch(K).normalized_rank_error(False))

MOST_KEPT: Final = 512
"""Rows whose values are all kept, in no more bytes than a sketch takes: all columns are gone through at once then."""

_EMPTY: Final = bytes(kll_floats_sketch(K).serialize())


class Values(ABC):
    """Of several columns. Merged in another order or grouping, quantiles are others within rank_error."""

    @abstractmethod
    def __add__(self, other: Values) -> Values: ...

    @abstractmethod
    def sketched(self) -> Sketches: ...

    @property
    @abstractmethod
    def width(self) -> int:
        """Columns."""

    @abstractmethod
    def arranged(self, positions: NDArray[np.int64]) -> Values:
        """The columns at these positions; -1 stands for one without values."""

    @abstractmethod
    def quantiles(self, ranks: Array) -> Array:
        """(columns, ranks): the smallest value that at least this share does not exceed; NaN where there is none."""

    @abstractmethod
    def rank_error(self) -> Array:
        """Per column: 0 where every value is kept."""

    @abstractmethod
    def counted(self, at: int) -> list[tuple[float, int]]:
        """What is kept of a column, and how many values each of these stands for."""

    @abstractmethod
    def to_state(self) -> Any: ...


@dataclass(frozen=True)
class Kept(Values):
    """All values. ordered: as values_of has it."""

    ordered: Singles

    def __add__(self, other: Values) -> Values:
        if not isinstance(other, Kept):
            return other + self
        return values_of(np.sort(np.concatenate([self.ordered, other.ordered], axis=1), axis=1))

    def sketched(self) -> Sketches:
        return Sketches.of(self.ordered)

    @property
    def width(self) -> int:
        return len(self.ordered)

    def arranged(self, positions: NDArray[np.int64]) -> Kept:
        nothing = np.full((1, self.ordered.shape[1]), np.nan, dtype=np.float32)
        return Kept(np.concatenate([self.ordered, nothing])[positions])

    def quantiles(self, ranks: Array) -> Array:
        # The product is rounded: a rank that a value reaches exactly must find that value.
        reached = np.ceil(np.outer(self._counts, ranks * (1 - 1e-12))).astype(np.int64)
        return np.take_along_axis(self.ordered, np.maximum(reached - 1, 0), axis=1).astype(np.float64)

    def rank_error(self) -> Array:
        return np.zeros(self.width)

    def counted(self, at: int) -> list[tuple[float, int]]:
        return [(value, 1) for value in self.ordered[at, : self._counts[at]].tolist()]

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        return np.asarray(self.ordered.shape[1] - np.isnan(self.ordered).sum(axis=1))

    def to_state(self) -> Singles:
        return self.ordered

    @classmethod
    def from_state(cls, state: NDArray[Any]) -> Kept:
        if state.dtype != np.float32 or state.ndim != 2 or not state.shape[1]:
            raise ValueError(f"{state.dtype} of shape {state.shape} where values are kept")
        return cls(state)


@dataclass(frozen=True)
class Sketches(Values):
    """One sketch per column, as DataSketches' own bytes, so that nothing can change it."""

    columns: tuple[bytes, ...]

    @classmethod
    def of(cls, ordered: Singles) -> Sketches:
        """ordered: as values_of has it; in order, values are taken in a fourth of the time."""
        if not len(ordered):
            return cls(())
        sketches = vector_of_kll_floats_sketches(K, len(ordered))
        sketches.update(np.require(ordered, requirements="W").T)  # takes none that cannot be written to, as read ones
        return cls(tuple(sketches.serialize()))

    def __add__(self, other: Values) -> Sketches:
        pairs = zip(self.columns, other.sketched().columns, strict=True)
        return Sketches(tuple(_merged(left, right) for left, right in pairs))

    def sketched(self) -> Sketches:
        return self

    @property
    def width(self) -> int:
        return len(self.columns)

    def arranged(self, positions: NDArray[np.int64]) -> Sketches:
        return Sketches(tuple(self.columns[at] if at >= 0 else _EMPTY for at in positions.tolist()))

    def quantiles(self, ranks: Array) -> Array:
        wanted, none = ranks.tolist(), [np.nan] * len(ranks)
        near = [none if sketch.is_empty() else sketch.get_quantiles(wanted, True) for sketch in self._opened]
        return np.array(near, dtype=np.float64).reshape(self.width, len(ranks))

    def rank_error(self) -> Array:
        return np.array([RANK_ERROR if sketch.is_estimation_mode() else 0.0 for sketch in self._opened])

    def counted(self, at: int) -> list[tuple[float, int]]:
        sketch = self._opened[at]
        # The weights that a sketch gives with its values are wrong where its lowest level is empty, as after a merge.
        kept = sorted({value for value, _ in sketch})
        reached = np.rint(np.array(sketch.get_cdf(kept, True)[:-1]) * sketch.n) if kept else np.empty(0)
        return list(zip(kept, np.diff(reached, prepend=0).astype(np.int64).tolist(), strict=True))

    @cached_property
    def _opened(self) -> Sequence[kll_floats_sketch]:
        return list(map(_sketch, self.columns))

    def to_state(self) -> list[Any]:
        return [[len(column) for column in self.columns], b"".join(self.columns)]

    @classmethod
    def from_state(cls, state: list[Any]) -> Sketches:
        lengths, joined = state
        ends = accumulate(lengths, initial=0)
        columns = tuple(joined[start:end] for start, end in pairwise(ends))
        for column in columns:
            _sketch(column)
        return cls(columns)


def values_of(ordered: Singles) -> Values:
    """ordered: (columns, rows), at least one row, each column's in increasing order, NaN, which is left out, last."""
    return Kept(ordered) if ordered.shape[1] <= MOST_KEPT else Sketches.of(ordered)


def from_state(state: Any) -> Values:
    """Raises ValueError, TypeError or RuntimeError for what is no state."""
    return Kept.from_state(state) if isinstance(state, np.ndarray) else Sketches.from_state(state)


def _merged(left: bytes, right: bytes) -> bytes:
    sketch, other = _sketch(left), _sketch(right)
    if other.is_empty():
        return left
    sketch.merge(other)
    return bytes(sketch.serialize())


def _sketch(data: bytes) -> kll_floats_sketch:
    return kll_floats_sketch.deserialize(data)
