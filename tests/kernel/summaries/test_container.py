from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tidegauge.summaries import container

ARRAYS = hnp.arrays(
    st.sampled_from([np.int64, np.float64]), hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=4)
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=5) | st.binary(max_size=9) | ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray):
        return left.shape == right.shape and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    return bool(left == right)


@given(TREES)
def test_a_tree_survives_its_bytes(tree: object) -> None:
    assert same(tree, container.load(container.dump(tree)))


def test_what_is_counted_under_the_name_of_an_array_is_a_count() -> None:
    tree = {"@": 3, "of": {"@": {"@": 1}}, "only": {"@": 2}}
    assert container.load(container.dump(tree)) == tree
    assert container.load(container.dump({"@": 3})) == {"@": 3}


def test_the_head_can_be_read_alone() -> None:
    assert container.head(container.dump({"a": np.zeros((2, 3)), "b": 1})) == {"a": {"@": ["f8", [2, 3]]}, "b": 1}


@pytest.mark.parametrize(("highest", "width"), [(255, 1), (256, 2), (65_536, 4), (2**40, 8), (-1, 8)])
def test_whole_numbers_take_the_narrowest_type(highest: int, width: int) -> None:
    assert len(container.dump(np.array([0, highest]))) == len(container.dump(np.array([0, 1]))) + 2 * width - 2


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no length"),
        (b"\2\0\0\0{}x", "3 bytes|7 bytes"),
        (b'\x11\0\0\0{"@":["f2",[3]]} ', "no such array"),
        (b'\x12\0\0\0{"@":["f8",[-3]]} ', "no such array"),
    ],
    ids=["empty", "surplus", "type", "shape"],
)
def test_what_is_no_container_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        container.load(data)


def test_arrays_cut_off_are_refused() -> None:
    with pytest.raises(ValueError, match="cut off within f8"):
        container.load(container.dump(np.arange(4.0))[:-1])
    with pytest.raises(ValueError, match="cut off within bytes"):
        container.load(container.dump(b"abc")[:-1])


def test_what_no_container_holds_is_not_packed() -> None:
    with pytest.raises(TypeError):
        container.dump({"a": {1, 2}})
