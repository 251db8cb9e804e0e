"""
Outputs compressed, from the worker that made them until a sink takes them. Reports are long texts whose words repeat;
Arrow, the JVM, a socket and the disk each handle all of their bytes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import pyarrow as pa

from aggregator.evaluate import Output

SHORT: Final = 4096
"""Values of fewer bytes stay as they are."""

PACKED_COLUMNS: Final = "kind string, topic string, key string, value binary, length int"

_CODEC: Final = "zstd"


class PackedOutput(NamedTuple):
    """As evaluate.Output. length: of the value in bytes before it was compressed, 0 where it was not."""

    kind: str
    topic: str | None
    key: str
    value: bytes
    length: int

    @classmethod
    def of(cls, output: Output) -> PackedOutput:
        if len(output.value) < SHORT:
            return cls(*output, length=0)
        return cls(*output._replace(value=pa.compress(output.value, _CODEC, asbytes=True)), length=len(output.value))

    def unpacked(self) -> Output:
        return Output(self.kind, self.topic, self.key, unpacked(self.value, self.length))


def unpacked(value: bytes, length: int) -> bytes:
    return pa.decompress(value, length, _CODEC, asbytes=True) if length else value
