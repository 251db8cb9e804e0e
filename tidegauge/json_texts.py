"""
JSON of many things that have the same names and other numbers: the text around the numbers is made once.

A window's report has thousands of numbers. To make Python objects of them, only to write these down, would take longer
than to work the numbers out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

Texts: TypeAlias = list[bytes]

GAP: Final = "\ue000"
"""Stands in a form for what is filled in; of the characters that no standard gives a meaning."""

NULL: Final = b"null"

_GAP_TEXT: Final = orjson.dumps(GAP)


@functools.lru_cache(maxsize=1 << 14)
def name_text(name: str) -> bytes:
    """Names come again and again."""
    return orjson.dumps(name)


def truths(values: Iterable[bool]) -> Texts:
    return [b"true" if value else b"false" for value in values]


def numbers(values: NDArray[Any]) -> Texts:
    """Of numbers or truth values, in order; null for NaN and infinities, which JSON has not."""
    if not values.size:
        return []
    return orjson.dumps(np.ascontiguousarray(values).ravel(), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def whole_numbers(values: NDArray[Any]) -> Texts:
    """The same, but 300.0 as 300."""
    return [text.removesuffix(b".0") for text in numbers(values)]


def extended(text: bytes, name: str, value: bytes) -> bytes:
    """An object, not an empty one, with one more entry at its end."""
    return b"%b,%b:%b}" % (text[:-1], name_text(name), value)


def joined(texts: Sequence[bytes]) -> bytes:
    """As one list."""
    return b"[%b]" % b",".join(texts)


class Form:
    """An object with gaps: GAP in `document` is a value that is filled in."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._first, *self._others = orjson.dumps(document).split(_GAP_TEXT)

    def fill(self, *columns: Sequence[bytes]) -> Texts:
        """columns: for each gap, in the order of the text, its values as texts, one for each object."""
        objects = len(columns[0])
        parts: list[Sequence[bytes]] = [[self._first] * objects]
        for column, following in zip(columns, self._others, strict=True):
            parts += (column, [following] * objects)
        return list(map(b"".join, zip(*parts, strict=True)))


class Unread(Mapping[str, Any]):
    """An object as its text, which is read when somebody asks what is in it."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    @cached_property
    def _read(self) -> dict[str, Any]:
        read: dict[str, Any] = orjson.loads(self.text)
        return read

    def __getitem__(self, name: str) -> Any:
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)


def text_of(document: Mapping[str, Any]) -> bytes:
    return document.text if isinstance(document, Unread) else orjson.dumps(dict(document))
