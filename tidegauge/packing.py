"""
Arrays of numbers as text inside a JSON document, a fraction of the size of a list and exact to the bit.

Little-endian items, their bytes grouped by significance (all first bytes, then all second ...: neighbours are alike in
their high bytes, which compress then), zlib at its best level, base64. The text depends on the items alone, for one
version of zlib.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item", bound=np.number[Any])

LARGEST_BYTES: Final = 16 << 20
"""What an array may take once unpacked: two million doubles. A few kilobytes of zlib could stand for gigabytes."""


def pack(array: NDArray[np.number[Any]]) -> str:
    """Items in C order; shape and type are the reader's to know. Integers that increase are smaller as differences."""
    items = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    grouped = items.view(np.uint8).reshape(-1, items.itemsize).T
    return base64.b64encode(zlib.compress(grouped.tobytes(), 9)).decode()


def unpack(packed: object, dtype: type[Item]) -> NDArray[Item]:
    """
    The items of `pack`, one-dimensional; `dtype` is that of the packed array. A list of numbers does as well, as people
    and other programs write it. Raises ValueError, also beyond LARGEST_BYTES.
    """
    if isinstance(packed, list):
        return _from_numbers(packed, dtype)
    if not isinstance(packed, str):
        raise ValueError(f"expected packed numbers or a list of numbers, got {type(packed).__name__}")
    grouped = np.frombuffer(_inflated(base64.b64decode(packed, validate=True)), dtype=np.uint8)
    width = np.dtype(dtype).itemsize
    if len(grouped) % width:
        raise ValueError(f"packed numbers end within an item of {width} bytes")
    items = np.ascontiguousarray(grouped.reshape(width, -1).T).view(np.dtype(dtype).newbyteorder("<"))
    return items.ravel().astype(dtype)


def _from_numbers(numbers: list[Any], dtype: type[Item]) -> NDArray[Item]:
    whole = issubclass(dtype, np.integer)
    # By type: numpy would take None for NaN, "1" and True for 1, and cut 1.5 to an integer 1.
    if any(type(number) is not int and (whole or type(number) is not float) for number in numbers):
        raise ValueError(f"expected {'whole numbers' if whole else 'numbers'} only")
    try:
        with np.errstate(over="ignore"):
            return np.array(numbers, dtype=dtype)
    except OverflowError as error:
        raise ValueError(f"a number is beyond {np.dtype(dtype)}") from error


def _inflated(compressed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(compressed, LARGEST_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"packed numbers are damaged: {error}") from error
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"packed numbers take more than {LARGEST_BYTES} bytes")
    if not inflater.eof or inflater.unused_data:
        raise ValueError("packed numbers are cut short or followed by something else")
    return content
