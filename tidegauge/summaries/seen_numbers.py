"""Which numbers of a sequence have been seen, as bitmaps: each counts once, however often it comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

_SHIFT: Final = 9
_BITS: Final = 1 << _SHIFT
"""Numbers of one block: 64 bytes, so that a window with few records is small and one with many has few blocks."""

MAXIMUM_BLOCKS: Final = 65_536
"""33 million numbers in 4 MB. Only numbers that do not follow each other, as no worker gives them, need more."""


_FEW: Final = 512
"""So many are put in their places one by one: numpy's first steps take longer."""


@dataclass(frozen=True)
class SeenNumbers:
    """
    blocks: bitmap of the numbers [512 k, 512 k + 512) by k, none of them empty. overflowed: there were more blocks than
    are kept, so that not all numbers are in it. Merging is exact, commutative, associative and idempotent.
    """

    blocks: Mapping[int, int] = field(default_factory=dict)
    overflowed: bool = False

    @classmethod
    def of(cls, numbers: Iterable[int]) -> SeenNumbers:
        """Raises OverflowError for a number beyond 64 bits."""
        given = np.fromiter(numbers, dtype=np.int64)
        if len(given) <= _FEW:
            return cls._bounded(_bitmaps(given.tolist()))
        seen = np.unique(given)
        places, row = np.unique(seen >> _SHIFT, return_inverse=True)
        bits = np.zeros((len(places), _BITS), dtype=bool)
        bits[row, seen & (_BITS - 1)] = True
        packed = np.packbits(bits, axis=1, bitorder="little")
        rows = zip(places.tolist(), packed, strict=True)
        return cls._bounded({place: int.from_bytes(row.tobytes(), "little") for place, row in rows})

    def merge(self, other: SeenNumbers) -> SeenNumbers:
        merged = dict(self.blocks)
        for place, bits in other.blocks.items():
            merged[place] = merged.get(place, 0) | bits
        return self._bounded(merged, overflowed=self.overflowed or other.overflowed)

    def covers(self, other: SeenNumbers) -> bool:
        """Whether all of the other's numbers are among these, as far as both are known."""
        return not other.overflowed and all(
            bits & ~self.blocks.get(place, 0) == 0 for place, bits in other.blocks.items()
        )

    @property
    def count(self) -> int:
        return sum(bits.bit_count() for bits in self.blocks.values())

    def to_state(self) -> list[Any]:
        places = sorted(self.blocks)
        bitmaps = b"".join(self.blocks[place].to_bytes(_BITS // 8, "little") for place in places)
        return [self.overflowed, np.array(places, dtype=np.int64), bitmaps]

    @classmethod
    def from_state(cls, state: list[Any]) -> SeenNumbers:
        overflowed, places, bitmaps = state
        width = _BITS // 8
        return cls(
            {
                place: int.from_bytes(bitmaps[at * width : (at + 1) * width], "little")
                for at, place in enumerate(places.tolist())
            },
            overflowed,
        )

    @classmethod
    def _bounded(cls, blocks: dict[int, int], *, overflowed: bool = False) -> SeenNumbers:
        """The lowest blocks are kept, which are the same whatever the order of merging."""
        if len(blocks) <= MAXIMUM_BLOCKS:
            return cls(blocks, overflowed)
        return cls({place: blocks[place] for place in sorted(blocks)[:MAXIMUM_BLOCKS]}, overflowed=True)


def _bitmaps(numbers: Iterable[int]) -> dict[int, int]:
    blocks: dict[int, int] = {}
    for number in numbers:
        place = number >> _SHIFT
        blocks[place] = blocks.get(place, 0) | 1 << (number & (_BITS - 1))
    return {place: blocks[place] for place in sorted(blocks)}
