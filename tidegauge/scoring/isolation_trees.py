"""
Isolation trees as complete binary trees of arrays: numpy walks all of them, for one row or many, at once.

A tree has at most DEPTH levels of splits. Where it ends earlier, splits that send every value to the left lead on to
the last level, so that all paths are of one length. The roots of n trees are the nodes n ... 2 n - 1, and below node i
are 2 i and 2 i + 1: levels lie one after the other, and in each tree after tree.

Path lengths are multiples of GRAIN, so that their sums are exact, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Index: TypeAlias = NDArray[np.intp]
Singles: TypeAlias = NDArray[np.float32]
Leaves: TypeAlias = NDArray[np.uint8]
"""(trees, rows): where each row's path ends in each tree, counted from the left."""

DEPTH: Final = 8
"""log2 of 256, the rows a tree is grown on (Liu, Ting and Zhou 2008, "Isolation Forest", sections 4.1 and 4.3)."""
LEAF: Final = -1
"""Stands for a split's feature where there is no split."""
MOST_TREES: Final = 1000
"""They take 25 kB each."""
GRAIN: Final = 2.0**-32

BLOCK_LEVELS: Final = DEPTH // 2
"""Levels whose splits are all compared at once; where the 15 answers of a tree lead is looked up in a table."""
BLOCK: Final = 1 << BLOCK_LEVELS
FEW_ROWS: Final = 12
"""Up to here blocks are faster than level after level (measured with 100 trees and 30 features)."""
CHUNK_ROWS: Final = 256
"""Rows walked at once: what belongs to them stays in the processor's cache."""


def average_path_length(rows: NDArray[Any]) -> Array:
    """Of an unsuccessful search in a binary tree of so many rows (Liu, Ting and Zhou 2008, equation 1); 0 for one."""
    more = np.maximum(rows, 3).astype(np.float64)
    average = 2.0 * (np.log(more - 1.0) + np.euler_gamma) - 2.0 * (more - 1.0) / more
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, average))


@dataclass(frozen=True)
class Nodes:
    """
    Trees one after the other, each in preorder, left before right.

    features: of all nodes, the feature that splits it, or LEAF. thresholds: of the splits, finite; values up to the
    threshold go left. counts: of the leaves, how many of the tree's reference rows ended there, at least 1.
    """

    features: NDArray[np.int32]
    thresholds: Singles
    counts: NDArray[np.int32]


class IsolationTrees:
    """Changes nothing once made: any number of threads may walk."""

    def __init__(self, nodes: Nodes) -> None:
        """Raises ValueError for what are no whole trees of up to DEPTH levels, each of as many reference rows."""
        _check(nodes)
        levels, numbers = _planted(nodes.features)
        self.trees = int((levels == 0).sum())
        places = (self.trees << levels) + numbers
        split, leaf = places[nodes.features != LEAF], places[nodes.features == LEAF]
        size = self.trees << (DEPTH + 1)
        self._splitters, self._limits = np.zeros(size, dtype=np.intp), np.full(size, np.inf, dtype=np.float32)
        self._splitters[split], self._limits[split] = nodes.features[nodes.features != LEAF], nodes.thresholds
        rows, self._lengths = np.zeros(size), np.zeros(size)
        rows[leaf] = nodes.counts
        self._lengths[leaf] = levels[nodes.features == LEAF] + average_path_length(nodes.counts)
        self._expect(rows)
        self.rows_per_tree = int(rows[self.trees])
        if (rows[self._level(0)] != self.rows_per_tree).any():
            raise ValueError("the trees are of different numbers of rows")
        self._prepare()

    def walk(self, matrix: Singles) -> tuple[Array, Leaves]:
        """
        matrix: (rows, features), C-contiguous, no NaN. The lengths of the rows' paths, summed over trees, (rows,), and
        where they end. A path counts the splits on it and, for the reference rows that its leaf left together, the
        average path length of as many.
        """
        rows = len(matrix)
        if rows <= FEW_ROWS:
            return self.walk_few(matrix)
        totals, leaves = np.empty(rows), np.empty((self.trees, rows), dtype=np.uint8)
        for start in range(0, rows, CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            nodes = self._walk_levels(np.ascontiguousarray(matrix[chunk].T))
            totals[chunk] = self._lengths.take(nodes).sum(axis=0)
            leaves[:, chunk] = nodes  # modulo 256, the leaves of a tree
        return totals, leaves

    def walk_few(self, matrix: Singles) -> tuple[Array, Leaves]:
        """As `walk`, and the same to the last bit."""
        rows, features = matrix.shape
        splitters, limits = self._top_blocks
        blocks = _ways_out(matrix.take(splitters, axis=1) > limits).reshape(rows, self.trees)
        blocks += self._first_block
        splitters, limits = self._low_blocks
        cells = splitters.take(blocks, axis=0)
        if rows > 1:
            cells += (np.arange(rows) * features)[:, None, None]
        leaves = _ways_out(matrix.take(cells) > limits.take(blocks, axis=0)).reshape(rows, self.trees)
        blocks *= BLOCK
        leaves += blocks
        return self._leaf_lengths.take(leaves).sum(axis=1), leaves.T.astype(np.uint8)

    def credits(self, leaves: Leaves, features: int) -> Array:
        """
        (rows, features): what each feature's splits on the way to the leaves took off the expected path length, summed
        over trees; below 0 where they added to it.
        """
        rows = leaves.shape[1]
        if rows <= CHUNK_ROWS:
            return self._credits(leaves, features)
        chunks = [leaves[:, start : start + CHUNK_ROWS] for start in range(0, rows, CHUNK_ROWS)]
        return np.concatenate([self._credits(chunk, features) for chunk in chunks])

    def _walk_levels(self, columns: Singles) -> Index:
        values, rows = columns.ravel(), columns.shape[1]
        roots = self._level(0)
        nodes = self._second + (columns.take(self._splitters[roots], axis=0) > self._limits[roots, None])
        for _ in range(1, DEPTH):
            cells = self._splitters.take(nodes)
            cells *= rows
            cells += np.arange(rows)
            right = values.take(cells) > self._limits.take(nodes)
            nodes *= 2
            nodes += right
        return nodes

    def _credits(self, leaves: Leaves, features: int) -> Array:
        rows = leaves.shape[1]
        steps = (leaves + self._first_leaf) >> self._levels_up
        cells = self._made_by.take(steps)
        if rows > 1:
            cells += features * np.arange(rows)
        # Exact, since the weights are multiples of GRAIN: the order of steps does not matter.
        credited = np.bincount(cells.ravel(), self._saved.take(steps).ravel(), rows * features)
        return np.asarray(credited.reshape(rows, features))

    def _level(self, level: int) -> slice:
        return slice(self.trees << level, self.trees << (level + 1))

    def _expect(self, rows: Array) -> None:
        """
        From those of the leaves, in place: the rows of every node, and its expected path length, the mean over its
        rows. What lies beneath a leaf has the leaf's length.
        """
        split, lengths = np.isfinite(self._limits), self._lengths
        for level in reversed(range(DEPTH)):
            here, below = self._level(level), self._level(level + 1)
            inner = np.flatnonzero(split[here])
            rows_below, lengths_below = (values[below].reshape(-1, 2)[inner] for values in (rows, lengths))
            rows[here][inner] = rows_below.sum(axis=1)
            lengths[here][inner] = (rows_below * lengths_below).sum(axis=1) / rows[here][inner]
        for level in range(DEPTH):
            beneath = np.repeat(~split[self._level(level)], 2)
            lengths[self._level(level + 1)][beneath] = np.repeat(lengths[self._level(level)], 2)[beneath]
        lengths[:] = np.rint(lengths / GRAIN) * GRAIN

    def _prepare(self) -> None:
        trees = np.arange(self.trees)
        self._second = 2 * (self.trees + trees)[:, None]
        top, low = self._blocks(0), self._blocks(BLOCK_LEVELS)
        self._top_blocks, self._low_blocks = (top[0].ravel(), top[1].ravel()), low
        self._first_block = trees * BLOCK
        self._leaf_lengths = self._lengths[self._level(DEPTH)]
        # What a step down to a node takes off the expected path length, and the feature that makes the step.
        parents = np.arange(len(self._lengths)) >> 1
        self._saved, self._made_by = self._lengths[parents] - self._lengths, self._splitters[parents]
        self._first_leaf = (self.trees + trees)[:, None] << DEPTH
        self._levels_up = np.arange(DEPTH)[:, None, None]

    def _blocks(self, first: int) -> tuple[Index, Singles]:
        """
        (blocks, BLOCK) of BLOCK_LEVELS levels from the first on. In a block the nodes below i are 2 i and 2 i + 1, from
        1 on; place 0 is idle.
        """
        blocks = self.trees << first
        splitters, limits = np.zeros((blocks, BLOCK), dtype=np.intp), np.full((blocks, BLOCK), np.inf, dtype=np.float32)
        for level in range(BLOCK_LEVELS):
            nodes, places = self._level(first + level), slice(1 << level, 2 << level)
            splitters[:, places] = self._splitters[nodes].reshape(blocks, -1)
            limits[:, places] = self._limits[nodes].reshape(blocks, -1)
        return splitters, limits


def _check(nodes: Nodes) -> None:
    splits = int((nodes.features != LEAF).sum())
    if len(nodes.thresholds) != splits or (nodes.features < LEAF).any() or not np.isfinite(nodes.thresholds).all():
        raise ValueError("expected a feature and a finite threshold for every split")
    if len(nodes.counts) != len(nodes.features) - splits or (nodes.counts < 1).any():
        raise ValueError("expected a count of at least 1 for every leaf")


def _planted(features: NDArray[np.int32]) -> tuple[Index, Index]:
    """Of every node in preorder, its level and its number there."""
    planted: list[tuple[int, int]] = []
    ahead: list[tuple[int, int]] = []
    trees = 0
    for feature in features.tolist():
        if not ahead:
            ahead.append((0, trees))
            trees += 1
        level, number = ahead.pop()
        if level > DEPTH or trees > MOST_TREES:
            raise ValueError(f"expected at most {MOST_TREES} trees of at most {DEPTH} levels")
        planted.append((level, number))
        if feature != LEAF:
            ahead += [(level + 1, 2 * number + 1), (level + 1, 2 * number)]
    if ahead or not planted:
        raise ValueError("expected whole trees, and at least one")
    levels, numbers = np.array(planted, dtype=np.intp).T
    return levels, numbers


def _table_of_ways() -> Index:
    """
    Which of the BLOCK ways out of a block its answers lead to, by those answers, True = right, packed into 16 bits.
    """
    answers = np.unpackbits(np.arange(1 << BLOCK, dtype=np.uint16).view(np.uint8)).reshape(-1, BLOCK)
    node = np.ones(len(answers), dtype=np.intp)
    for _ in range(BLOCK_LEVELS):
        node = 2 * node + answers[np.arange(len(answers)), node]
    return node - BLOCK


_WAYS: Final = _table_of_ways()


def _ways_out(answers: NDArray[np.bool_]) -> Index:
    """answers: BLOCK per block, C-contiguous. (blocks,)."""
    return _WAYS.take(np.packbits(answers).view(np.uint16))
