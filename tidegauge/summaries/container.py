"""
A tree of JSON values, arrays and bytes as bytes: numbers take 8 bytes or fewer, where text takes up to 20.

Length of the head (4 bytes, little-endian), the head (the tree as JSON, each array and each bytes value replaced by
{"@": [type, shape]}), then their bytes in the head's order. Integers take the narrowest type that holds them all.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

_LENGTH: Final = struct.Struct("<I")

_BYTES: Final = "bytes"

_TYPES: Final = {
    **{name: np.dtype(f"<{name}") for name in ("u1", "u2", "u4", "i8", "f8")},
    _BYTES: np.dtype("u1"),
}
"""As numpy names them, little-endian."""

_NARROW: Final = tuple((int(np.iinfo(name).max), _TYPES[name]) for name in ("u1", "u2", "u4"))

_PLAIN: Final = frozenset({int, float, str, bool, type(None)})
"""Most of a tree, and nothing in them to pack."""


def dump(tree: object) -> bytes:
    blobs: list[bytes] = []
    head = orjson.dumps(_packed(tree, blobs))
    return b"".join([_LENGTH.pack(len(head)), head, *blobs])


def load(data: bytes) -> Any:
    """Raises ValueError or TypeError for what `dump` did not write."""
    if len(data) < _LENGTH.size:
        raise ValueError("no length of a head")
    start = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    reader = _Reader(data, start)
    tree = reader.unpacked(orjson.loads(data[_LENGTH.size : start]))
    if reader.position != len(data):
        raise ValueError(f"{len(data)} bytes, of which {reader.position} are accounted for")
    return tree


def head(data: bytes) -> Any:
    """The JSON part alone."""
    return orjson.loads(data[_LENGTH.size : _LENGTH.size + _LENGTH.unpack_from(data)[0]])


def _packed(node: object, blobs: list[bytes]) -> object:
    if isinstance(node, np.ndarray):
        array = _narrowed(node)
        blobs.append(array.tobytes())
        return {"@": [array.dtype.str[1:], list(array.shape)]}
    if isinstance(node, bytes):
        blobs.append(node)
        return {"@": [_BYTES, [len(node)]]}
    if isinstance(node, (list, tuple)):
        return [value if type(value) in _PLAIN else _packed(value, blobs) for value in node]
    if isinstance(node, Mapping):
        return {name: value if type(value) in _PLAIN else _packed(value, blobs) for name, value in node.items()}
    return node


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, dtype=_TYPES["f8"])
    if array.size and array.min() >= 0:
        highest = array.max()
        for largest, narrow in _NARROW:
            if highest <= largest:
                return np.ascontiguousarray(array, dtype=narrow)
    return np.ascontiguousarray(array, dtype=_TYPES["i8"])


class _Reader:
    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position

    def unpacked(self, node: Any) -> Any:
        if isinstance(node, dict):
            if "@" in node and len(node) == 1:
                return self._blob(*node["@"])
            return {name: value if type(value) in _PLAIN else self.unpacked(value) for name, value in node.items()}
        if isinstance(node, list):
            return [value if type(value) in _PLAIN else self.unpacked(value) for value in node]
        return node

    def _blob(self, kind: str, shape: list[int]) -> Any:
        if kind not in _TYPES or any(type(size) is not int or size < 0 for size in shape):
            raise ValueError(f"no such array: {kind!r} {shape!r}")
        count, dtype = math.prod(shape), _TYPES[kind]
        start, self.position = self.position, self.position + count * dtype.itemsize
        if self.position > len(self._data):
            raise ValueError(f"cut off within {kind}")
        if kind == _BYTES:
            return bytes(self._data[start : self.position])
        return np.frombuffer(self._data, dtype, count, start).reshape(shape)
