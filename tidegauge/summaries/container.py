"""
A tree of JSON values, arrays and bytes as bytes: numbers take 8 bytes or fewer, where text takes up to 20.

Length of the head (4 bytes, little-endian), the head (the tree as JSON, each array and each bytes value replaced by
{"@": [type, shape]}), then their bytes in the head's order. Integers take the narrowest type that holds them all.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

_LENGTH: Final = struct.Struct("<I")

_BYTES: Final = "bytes"

_TYPES: Final = ("u1", "u2", "u4", "i8", "f8", _BYTES)
"""As numpy names them, little-endian."""


def dump(tree: object) -> bytes:
    blobs: list[bytes] = []
    head = orjson.dumps(_packed(tree, blobs))
    return b"".join([_LENGTH.pack(len(head)), head, *blobs])


def load(data: bytes) -> Any:
    """Raises ValueError or TypeError for what `dump` did not write."""
    if len(data) < _LENGTH.size:
        raise ValueError("no length of a head")
    start = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    reader = _Reader(memoryview(data), start)
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
    if isinstance(node, Mapping):
        return {name: _packed(value, blobs) for name, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_packed(value, blobs) for value in node]
    return node


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, dtype="<f8")
    if array.size and array.min() >= 0:
        highest = array.max()
        for name in ("<u1", "<u2", "<u4"):
            if highest <= np.iinfo(name).max:
                return np.ascontiguousarray(array, dtype=name)
    return np.ascontiguousarray(array, dtype="<i8")


class _Reader:
    def __init__(self, data: memoryview, position: int) -> None:
        self._data = data
        self.position = position

    def unpacked(self, node: Any) -> Any:
        if isinstance(node, dict):
            if node.keys() == {"@"}:
                return self._blob(*node["@"])
            return {name: self.unpacked(value) for name, value in node.items()}
        if isinstance(node, list):
            # Long lists are of plain numbers or texts: arrays are the packed ones.
            return [self.unpacked(value) if isinstance(value, (dict, list)) else value for value in node]
        return node

    def _blob(self, kind: str, shape: list[int]) -> Any:
        if kind not in _TYPES or any(type(size) is not int or size < 0 for size in shape):
            raise ValueError(f"no such array: {kind!r} {shape!r}")
        width = 1 if kind == _BYTES else np.dtype(kind).itemsize
        taken = self._data[self.position : self.position + width * int(np.prod(shape, dtype=object))]
        self.position += len(taken)
        if kind == _BYTES:
            if len(taken) != shape[0]:
                raise ValueError("cut off within bytes")
            return bytes(taken)
        return np.frombuffer(taken, dtype=f"<{kind}").reshape(shape)
