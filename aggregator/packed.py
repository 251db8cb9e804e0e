"""
Outputs packed together and compressed, from the worker that made them until a sink takes them. Reports are long texts
whose words repeat, and a window's drift verdict is for the most part in its report as well; Arrow, the JVM, a socket
and the disk each handle all of their bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import orjson
import pyarrow as pa

from aggregator.evaluate import DEAD_LETTER, DRIFT, PROVISIONAL, REPORT, Output

PACKED: Final = frozenset({REPORT, DRIFT, PROVISIONAL, DEAD_LETTER})
"""Kinds that are long or many; the others are wanted by themselves, and stay as they are."""

TOGETHER: Final = "together"
"""The kind of a parcel of several outputs."""

TOGETHER_BYTES: Final = 1 << 20
"""A parcel is closed when it has so much in it, before it is compressed."""

PARCEL_COLUMNS: Final = "kind string, topic string, key string, value binary, length int, contents string"

_CODEC: Final = "zstd"

_LEVEL: Final = -10
"""What repeats is left out and the rest stays as it is: half the time, and twice the bytes, which are soon gone."""


class Parcel(NamedTuple):
    """
    One output as evaluate.Output has it, or of kind TOGETHER several: then contents is a JSON array of [kind, topic,
    key, length in bytes] of each, and value has theirs one after the other, compressed. length: in bytes of value
    before it was compressed, 0 where it was not.
    """

    kind: str
    topic: str | None
    key: str
    value: bytes
    length: int = 0
    contents: str | None = None

    def outputs(self) -> Iterator[Output]:
        if self.contents is None:
            yield Output(self.kind, self.topic, self.key, self._unpacked())
            return
        whole, named = self._unpacked(), orjson.loads(self.contents)
        ends = accumulate((length for *_, length in named), initial=0)
        for (kind, topic, key, _), (start, end) in zip(named, pairwise(ends), strict=True):
            yield Output(kind, topic, key, whole[start:end])

    def _unpacked(self) -> bytes:
        return pa.decompress(self.value, self.length, _CODEC, asbytes=True) if self.length else self.value


def parcels_in(rows: pa.Table | pa.RecordBatch) -> Iterator[Parcel]:
    """rows: with PARCEL_COLUMNS."""
    return map(Parcel, *(rows.column(name).to_pylist() for name in Parcel._fields))


def packed(outputs: Iterable[Output]) -> Iterator[Parcel]:
    """Those of PACKED kinds keep their order among each other, and so do the others."""
    waiting: list[Output] = []
    size = 0
    for output in outputs:
        if output.kind not in PACKED:
            yield Parcel(*output)
            continue
        waiting.append(output)
        size += len(output.value)
        if size >= TOGETHER_BYTES:
            yield _together(waiting)
            waiting, size = [], 0
    if waiting:
        yield _together(waiting)


def _together(outputs: list[Output]) -> Parcel:
    whole = b"".join(output.value for output in outputs)
    contents = orjson.dumps([[*output[:3], len(output.value)] for output in outputs]).decode()
    value = pa.Codec(_CODEC, compression_level=_LEVEL).compress(whole, asbytes=True)
    return Parcel(TOGETHER, None, outputs[0].key, value, len(whole), contents)
