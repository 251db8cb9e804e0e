"""Trees made by hand, small enough to know what must come out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegauge.scoring.isolation_trees import (
    CHUNK_ROWS,
    DEPTH,
    FEW_ROWS,
    LEAF,
    MOST_TREES,
    IsolationTrees,
    Nodes,
    average_path_length,
)


def nodes(features: list[int], thresholds: list[float], counts: list[int]) -> Nodes:
    return Nodes(
        np.array(features, dtype=np.int32), np.array(thresholds, dtype=np.float32), np.array(counts, dtype=np.int32)
    )


def random_nodes(trees: int, *, features: int, seed: int = 1) -> Nodes:
    """Every tree of 40 rows, split by chance."""
    rng = np.random.default_rng(seed)
    splitters: list[int] = []
    counts: list[int] = []

    def grow(rows: int, level: int) -> None:
        if rows == 1 or level == DEPTH or rng.random() < 0.1:
            splitters.append(LEAF)
            counts.append(rows)
            return
        splitters.append(int(rng.integers(features)))
        left = int(rng.integers(1, rows))
        grow(left, level + 1)
        grow(rows - left, level + 1)

    for _ in range(trees):
        grow(40, 0)
    return nodes(splitters, rng.normal(size=len(splitters) - len(counts)).tolist(), counts)


# Feature 1 parts 3 of 5 rows from the other 2; feature 0 parts these. The second tree never splits.
TWO = nodes([1, LEAF, 0, LEAF, LEAF, LEAF], [0.5, -2.0], [3, 1, 1, 5])
OF_3, OF_5 = average_path_length(np.array([3, 5]))


def test_the_average_path_length_is_that_of_searches_in_vain() -> None:
    harmonic = 2 * (np.log(99) + np.euler_gamma)
    expected = [0.0, 1.0, 2 * (np.log(2) + np.euler_gamma) - 4 / 3, harmonic - 2 * 99 / 100]
    np.testing.assert_allclose(average_path_length(np.array([1, 2, 3, 100])), expected)


def test_paths_count_splits_and_what_their_leaves_left_together() -> None:
    rows = np.array([[9.0, 0.5], [-2.0, 0.6], [9.0, 0.6]], dtype=np.float32)
    totals, leaves = IsolationTrees(TWO).walk(rows)
    np.testing.assert_allclose(totals, [1 + OF_3 + OF_5, 2 + OF_5, 2 + OF_5], atol=1e-9)
    assert leaves.shape == (2, 3)


def test_features_are_credited_with_what_their_splits_save() -> None:
    trees = IsolationTrees(TWO)
    rows = np.array([[9.0, 0.5], [-2.0, 0.6]], dtype=np.float32)
    _, leaves = trees.walk(rows)
    root = (3 * (1 + OF_3) + 2 * 2) / 5
    expected = [[0.0, root - (1 + OF_3), 0.0], [0.0, root - 2, 0.0]]
    np.testing.assert_allclose(trees.credits(leaves, 3), expected, atol=1e-9)


@pytest.mark.parametrize("rows", [2, FEW_ROWS, FEW_ROWS + 1, CHUNK_ROWS, 2 * CHUNK_ROWS + 1])
def test_a_batch_walks_as_its_rows_alone_do(rows: int) -> None:
    trees = IsolationTrees(random_nodes(7, features=5))
    matrix = np.random.default_rng(2).normal(size=(rows, 5)).astype(np.float32)
    matrix[0] = [np.inf, -np.inf, 3e38, -3e38, 0]
    totals, leaves = trees.walk(matrix)
    credited = trees.credits(leaves, 5)
    for position in range(rows):
        total, leaf = trees.walk_few(matrix[position : position + 1])
        assert total == totals[position]
        np.testing.assert_array_equal(leaf[:, 0], leaves[:, position])
        np.testing.assert_array_equal(trees.credits(leaf, 5)[0], credited[position])


def test_credits_add_up_to_what_the_whole_path_saved() -> None:
    forest = random_nodes(7, features=5)
    trees = IsolationTrees(forest)
    matrix = np.random.default_rng(2).normal(size=(50, 5)).astype(np.float32)
    totals, leaves = trees.walk(matrix)
    saved = trees.credits(leaves, 5).sum(axis=1)
    assert np.ptp(totals + saved) < 1e-8  # the expectation at the roots, the same for every row


def test_no_rows_walk_nowhere() -> None:
    trees = IsolationTrees(TWO)
    totals, leaves = trees.walk(np.empty((0, 2), dtype=np.float32))
    assert (totals.shape, leaves.shape, trees.credits(leaves, 2).shape) == ((0,), (2, 0), (0, 2))


CHAIN = [0] * (DEPTH + 1) + [LEAF] * (DEPTH + 2)

NO_TREES: dict[str, tuple[list[int], list[Any], list[int]]] = {
    "nothing": ([], [], []),
    "a tree cut short": ([0, LEAF], [0.5], [1]),
    "a feature below the mark of leaves": ([-2], [0.5], []),
    "a split without threshold": ([0, LEAF, LEAF], [], [1, 1]),
    "a threshold too many": ([LEAF], [0.5], [1]),
    "a threshold that is none": ([0, LEAF, LEAF], [np.nan], [1, 1]),
    "a threshold without end": ([0, LEAF, LEAF], [np.inf], [1, 1]),
    "a leaf without count": ([LEAF], [], []),
    "a count too many": ([LEAF], [], [1, 1]),
    "an empty leaf": ([0, LEAF, LEAF], [0.5], [0, 2]),
    "trees of different rows": ([LEAF, LEAF], [], [5, 6]),
    "too deep a tree": (CHAIN, [0.5] * (DEPTH + 1), [1] * (DEPTH + 2)),
    "too many trees": ([LEAF] * (MOST_TREES + 1), [], [2] * (MOST_TREES + 1)),
}


@pytest.mark.parametrize("given", NO_TREES.values(), ids=NO_TREES)
def test_what_are_no_trees_is_refused(given: tuple[list[int], list[float], list[int]]) -> None:
    with pytest.raises(ValueError, match=r"trees|every"):
        IsolationTrees(nodes(*given))


def test_the_deepest_and_the_most_trees_are_taken() -> None:
    deepest = IsolationTrees(nodes(CHAIN[1:-1], [0.5] * DEPTH, [1] * (DEPTH + 1)))
    row: NDArray[np.float32] = np.zeros((1, 1), dtype=np.float32)
    assert deepest.walk_few(row)[0] == DEPTH
    assert IsolationTrees(nodes([LEAF] * MOST_TREES, [], [2] * MOST_TREES)).trees == MOST_TREES
