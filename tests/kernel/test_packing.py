from __future__ import annotations

import base64
import json
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tidegauge.packing import LARGEST_BYTES, pack, unpack

TYPES = [np.float64, np.float32, np.int64, np.int32, np.int16, np.uint8]


@pytest.mark.parametrize("dtype", TYPES)
@given(data=st.data())
def test_arrays_come_back_to_the_bit(dtype: type[np.number[Any]], data: st.DataObject) -> None:
    array = data.draw(hnp.arrays(dtype, st.integers(0, 50)))
    again = unpack(json.loads(json.dumps(pack(array))), dtype)
    assert again.dtype == np.dtype(dtype)
    assert again.dtype.isnative
    assert again.tobytes() == array.tobytes()
    again.flags.writeable = True


def test_the_text_depends_on_the_items_and_not_on_how_they_are_laid_out() -> None:
    grid = np.arange(12.0).reshape(3, 4)
    texts = {pack(grid), pack(np.asfortranarray(grid)), pack(grid.astype(">f8")), pack(np.repeat(grid, 2)[::2])}
    assert len(texts) == 1
    np.testing.assert_array_equal(unpack(texts.pop(), np.float64), grid.ravel())


def test_neighbouring_doubles_take_less_than_half_of_a_list() -> None:
    values = np.sort(np.random.default_rng(1).normal(170.0, 10.0, 1000))
    assert len(pack(values)) < 0.5 * len(json.dumps(values.tolist()))
    assert len(pack(values)) < len(base64.b64encode(zlib.compress(values.tobytes(), 9)))


def test_lists_of_numbers_are_read_too() -> None:
    np.testing.assert_array_equal(unpack([1, 2.5, -3e300], np.float64), [1.0, 2.5, -3e300])
    np.testing.assert_array_equal(unpack([1, -2], np.int16), np.array([1, -2], dtype=np.int16))
    np.testing.assert_array_equal(unpack([1e300], np.float32), [np.inf])
    assert unpack([], np.float32).dtype == np.float32


@pytest.mark.parametrize("numbers", [[None], ["1"], [True], [[1]], [1.5], [40000], [10**400]])
def test_lists_of_anything_else_are_refused(numbers: list[object]) -> None:
    with pytest.raises(ValueError):
        unpack(numbers, np.int16)


@pytest.mark.parametrize("numbers", [[None], ["1"], [True], [[1.0]], [10**400]])
def test_lists_of_anything_but_numbers_are_no_doubles(numbers: list[object]) -> None:
    with pytest.raises(ValueError):
        unpack(numbers, np.float64)


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


DAMAGED = {
    "nothing": None,
    "a number": 5,
    "an object": {},
    "no base64": "***",
    "not ASCII": "é",
    "no zlib": text(b"plain"),
    "empty": "",
    "cut short": text(zlib.compress(bytes(80))[:-1]),
    "with more behind it": text(zlib.compress(bytes(80)) + b"more"),
    "ending within an item": text(zlib.compress(bytes(81))),
}


@pytest.mark.parametrize("packed", DAMAGED.values(), ids=DAMAGED)
def test_damaged_text_is_refused(packed: object) -> None:
    with pytest.raises(ValueError):
        unpack(packed, np.float64)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked() -> None:
    largest = pack(np.zeros(LARGEST_BYTES, dtype=np.uint8))
    assert len(unpack(largest, np.uint8)) == LARGEST_BYTES
    bomb = text(zlib.compress(bytes(8 * LARGEST_BYTES), 9))
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"more than {LARGEST_BYTES}"):
        unpack(bomb, np.uint8)
    assert tracemalloc.get_traced_memory()[1] < 3 * LARGEST_BYTES
    tracemalloc.stop()
