"""Reference data as something that can be gone through several times, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, Matrix

Flags: TypeAlias = NDArray[np.bool_]

BLOCK_ROWS: Final = 1 << 16
BLOCK_VALUES: Final = 2_000_000
"""A block has BLOCK_ROWS rows, or as many as these values make where data are wide: 16 MB."""


@dataclass(frozen=True, slots=True)
class Block:
    """
    columns: float64 (features + predictions, rows), C-contiguous, NaN = missing, categories as codes. outlier: bool
    (rows,), True for known outliers; None where nothing says. share: how much of the data is read after this block, in
    [0, 1].
    """

    columns: Matrix
    outlier: Flags | None = None
    share: float = 1.0


class Source(Protocol):
    """
    Reference rows. `blocks` gives all of them, in blocks of any size, in the same order each time it is called, and
    raises InvalidBaseline for what it cannot read.
    """

    @property
    def schema(self) -> FeatureSchema: ...

    @property
    def prediction_schema(self) -> FeatureSchema | None:
        """Of the columns behind the features."""

    def blocks(self) -> Iterator[Block]: ...


def width_of(source: Source) -> int:
    return len(source.schema) + len(source.prediction_schema or ())


def even_blocks(source: Source) -> Iterator[Block]:
    """The source's rows in blocks that depend on its width alone, so that sums do not depend on how a file is cut."""
    width = width_of(source)
    size = max(min(BLOCK_ROWS, BLOCK_VALUES // width), 1)
    columns, outlier, filled, share = np.empty((width, size)), np.zeros(size, dtype=bool), 0, 0.0
    for block in source.blocks():
        start, rows = 0, block.columns.shape[1]
        share = block.share
        while start < rows:
            taken = min(size - filled, rows - start)
            columns[:, filled : filled + taken] = block.columns[:, start : start + taken]
            outlier[filled : filled + taken] = False if block.outlier is None else block.outlier[start : start + taken]
            start, filled = start + taken, filled + taken
            if filled == size:
                yield Block(columns, outlier, share)
                columns, outlier, filled = np.empty((width, size)), np.zeros(size, dtype=bool), 0
    if filled:
        yield Block(np.ascontiguousarray(columns[:, :filled]), outlier[:filled], share)


@dataclass(frozen=True)
class MatrixSource:
    """matrix: float64 (rows, features), NaN = missing, categories as codes; not copied."""

    matrix: Matrix
    schema: FeatureSchema
    prediction_schema: FeatureSchema | None = None

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.shape[1] != len(self.schema):
            raise InvalidBaseline(f"data of shape {self.matrix.shape} for {len(self.schema)} features")

    def blocks(self) -> Iterator[Block]:
        rows = len(self.matrix)
        size = max(min(BLOCK_ROWS, BLOCK_VALUES // len(self.schema)), 1)
        for start in range(0, rows, size):
            yield Block(
                np.ascontiguousarray(self.matrix[start : start + size].T), share=min(1.0, (start + size) / rows)
            )


@dataclass(frozen=True)
class Accompanied:
    """
    A source with arrays beside it, of as many rows. outlier: bool (rows,). predictions: float64 (rows, predictions), of
    `prediction_schema`. Without predictions the source's own stay.
    """

    source: Source
    outlier: Flags | None
    predictions: Matrix | None
    prediction_schema: FeatureSchema | None

    @property
    def schema(self) -> FeatureSchema:
        return self.source.schema

    def blocks(self) -> Iterator[Block]:
        start = 0
        for block in self.source.blocks():
            rows = slice(start, start + block.columns.shape[1])
            beside = block.columns[:0] if self.predictions is None else self.predictions[rows].T
            outlier = block.outlier if self.outlier is None else self.outlier[rows]
            yield replace(block, columns=np.vstack([block.columns, beside]), outlier=outlier)
            start = rows.stop
