"""
A tree of JSON values, arrays and bytes as bytes: numbers take 8 bytes or fewer, where text takes up to 20.

Length of the head (4 bytes, little-endian), the head (the tree as JSON, each array and each bytes value replaced by
{"@": [type, shape]}), then their bytes in the head's order. Integers take the narrowest type that holds them all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

_LENGTH: Final = struct.Struct("<I")

_BYTES: Final = "bytes"

_BLOB: Final = "@"
"""Name of the one entry that stands for an array or bytes."""

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
            return {_BLOB: [name, node.shape]}
        if isinstance(node, bytes):
            blobs.append(node)
            return {_BLOB: [_BYTES, (len(node),)]}
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
        if type(node) is dict and _BLOB in node and len(node) == 1:
            return self._blob(*node[_BLOB])
        places: Iterable[tuple[Any, Any]] = enumerate(node) if type(node) is list else node.items()
        for place, value in places:
            kind = type(value)
            if kind is dict and _BLOB in value and len(value) == 1:
                node[place] = self._blob(*value[_BLOB])
            elif kind in _INNER and value:
                self.unpacked(value)
        return node

    def _blob(self, kind: str, shape: list[int]) -> Any:
        dtype, count = _TYPES.get(kind), 1
        for size in shape:
            if type(size) is not int or size < 0:
                dtype = None
                break
            count *= size
        if dtype is None:
            raise ValueError(f"no such array: {kind!r} {shape!r}")
        start = self.position
        end = self.position = start + count * dtype.itemsize
        if end > len(self._data):
            raise ValueError(f"cut off within {kind}")
        if kind == _BYTES:
            return self._data[start:end]
        array = np.frombuffer(self._data, dtype, count, start)
        return array if len(shape) == 1 else array.reshape(shape)
