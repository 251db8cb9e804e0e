"""Which numbers of a sequence have been seen, as bitmaps: each counts once, however often it comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SHIFT: Final = 9
_BITS: Final = 1 << _SHIFT
"""Numbers of one block: 64 bytes, so that a window with few records is small and one with many has few blocks."""

MAXIMUM_BLOCKS: Final = 65_536
"""33 million numbers in 4 MB. Only numbers that do not follow each other, as no worker gives them, need more."""

_NEAR: Final = 64
"""Blocks are gone through without looking which there are where they are this near to each other: most are."""


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
        seen = np.fromiter(numbers, dtype=np.int64)
        if not len(seen):
            return cls()
        places, row = _blocks_of(seen >> _SHIFT)
        bits = np.zeros((len(places), _BITS), dtype=bool)
        bits[row, seen & (_BITS - 1)] = True
        packed = np.packbits(bits, axis=1, bitorder="little")
        rows = zip(places.tolist(), packed, strict=True)
        return cls._bounded(
            {place: bitmap for place, row in rows if (bitmap := int.from_bytes(row.tobytes(), "little"))}
        )

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


def _blocks_of(places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Increasing places, all given ones among them, and the position of each given one there."""
    lowest, highest = int(places.min()), int(places.max())
    if highest - lowest < _NEAR:
        return np.arange(lowest, highest + 1), places - lowest
    found, row = np.unique(places, return_inverse=True)
    return found, row
