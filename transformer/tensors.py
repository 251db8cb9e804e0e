"""
Data of the v2 protocol's binary tensor extension: after the JSON come, end to end and in their order, the bytes of each
tensor that has "binary_data_size" among its parameters. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Data = Sequence[object] | NDArray[Any]
"""A tensor's values, nested as they came in JSON or flat."""

_TYPES: Final = {
    "BOOL": np.dtype("?"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}


def json_length(header: bytes, body: bytes) -> int | None:
    """How many bytes of the body are JSON, by inference-header-content-length; None where that is no length of them."""
    if not header.isdigit() or len(header) > 18 or int(header) > len(body):
        return None
    return int(header)


def with_binary_data(tensors: Sequence[Any], tail: bytes) -> list[Any] | None:
    """
    The tensors, those without "data" given theirs from tail. None where types, shapes and sizes do not fit each other
    or leave bytes over.
    """
    filled: list[Any] = []
    start = 0
    for tensor in tensors:
        size = _binary_size(tensor)
        if size is None:
            filled.append(tensor)
            continue
        data = decoded(tensor, tail[start : start + size]) if size <= len(tail) - start else None
        if data is None:
            return None
        filled.append({**tensor, "data": data})
        start += size
    return filled if start == len(tail) else None


def is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _binary_size(tensor: object) -> int | None:
    parameters = tensor.get("parameters") if isinstance(tensor, dict) and "data" not in tensor else None
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    return size if isinstance(size, int) and is_size(size) else None


def decoded(tensor: Mapping[str, Any], data: bytes) -> Data | None:
    """The values of a tensor with datatype and shape; None where they do not fit each other."""
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(map(is_size, shape)):
        return None
    count, datatype = prod(shape), tensor.get("datatype")
    if datatype == "BYTES":
        return _texts(data, count)
    kind = _TYPES.get(datatype) if isinstance(datatype, str) else None
    return np.frombuffer(data, kind) if kind is not None and len(data) == count * kind.itemsize else None


def _texts(data: bytes, count: int) -> list[str] | None:
    """Each has its length before it, in 4 bytes. What is not UTF-8 in them is no category that a baseline knows."""
    texts: list[str] = []
    start = 0
    while start + 4 <= len(data) and len(texts) < count:
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        if end > len(data):
            return None
        texts.append(data[start + 4 : end].decode("utf-8", "replace"))
        start = end
    return texts if len(texts) == count and start == len(data) else None
