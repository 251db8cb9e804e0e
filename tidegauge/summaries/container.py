"""
A tree of JSON values, arrays and bytes as bytes: numbers take 8 bytes or fewer, where text takes up to 20.

Length of the head (4 bytes, little-endian), the head (the tree as JSON, each array and each bytes value replaced by
{"@": [type, shape]}), then their bytes in the head's order. Integers take the narrowest type that holds them all.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

_LENGTH: Final = struct.Struct("<I")

_BYTES: Final = "bytes"

_TYPES: Final = {
    **{name: np.dtype(f"<{name}") for name in ("u1", "u2", "u4", "i8", "f4", "f8")},
    _BYTES: np.dtype("u1"),
}
"""As numpy names them, little-endian."""

_INNER: Final = frozenset({dict, list})

_NARROW: Final = tuple((int(np.iinfo(name).max), name) for name in ("u1", "u2", "u4"))


def dump(tree: object) -> bytes:
    blobs: list[bytes] = []

    def packed(node: object) -> object:
        """Of what JSON does not know, in the order of the text."""
        if isinstance(node, np.ndarray):
            name = _narrowest(node) if node.dtype.kind != "f" else "f4" if node.dtype == np.float32 else "f8"
            blobs.append(node.astype(_TYPES[name], copy=False).tobytes())
            return {"@": [name, node.shape]}
        if isinstance(node, bytes):
            blobs.append(node)
            return {"@": [_BYTES, (len(node),)]}
        if isinstance(node, tuple):  # with names
            return list(node)
        raise TypeError(f"{type(node).__name__} cannot be packed")

    head = orjson.dumps(tree, default=packed)
    return b"".join([_LENGTH.pack(len(head)), head, *blobs])


def load(data: bytes) -> Any:
    """Raises ValueError or TypeError for what `dump` did not write."""
    if len(data) < _LENGTH.size:
        raise ValueError("no length of a head")
    start = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    tree, reader = orjson.loads(data[_LENGTH.size : start]), _Reader(data, start)
    if type(tree) in _INNER:
        tree = reader.unpacked(tree)
    if reader.position != len(data):
        raise ValueError(f"{len(data)} bytes, of which {reader.position} are accounted for")
    return tree


def head(data: bytes) -> Any:
    """The JSON part alone."""
    return orjson.loads(data[_LENGTH.size : _LENGTH.size + _LENGTH.unpack_from(data)[0]])


def _narrowest(array: NDArray[Any]) -> str:
    """Name of the type; of whole numbers."""
    if array.size:
        # Of a negative one, more than any narrow type holds.
        highest = array.astype(np.uint64).max()
        for largest, name in _NARROW:
            if highest <= largest:
                return name
    return "i8"


class _Reader:
    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position

    def unpacked(self, node: Any) -> Any:
        """node: an object or a list. The same with what stands for arrays and bytes replaced, in the text's order."""
        places: Iterable[tuple[Any, Any]]
        if type(node) is list:
            places = enumerate(node)
        elif len(node) == 1 and type(node.get("@")) is list:  # a model may have an output of that name, and its count
            return self._blob(*node["@"])
        else:
            places = node.items()
        for place, value in places:
            if type(value) in _INNER:
                node[place] = self.unpacked(value)
        return node

    def _blob(self, kind: str, shape: list[int]) -> Any:
        if kind not in _TYPES or [size for size in shape if type(size) is not int or size < 0]:
            raise ValueError(f"no such array: {kind!r} {shape!r}")
        count, dtype = math.prod(shape), _TYPES[kind]
        start, self.position = self.position, self.position + count * dtype.itemsize
        if self.position > len(self._data):
            raise ValueError(f"cut off within {kind}")
        if kind == _BYTES:
            return self._data[start : self.position]
        array = np.frombuffer(self._data, dtype, count, start)
        return array if len(shape) == 1 else array.reshape(shape)
