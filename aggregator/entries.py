"""
What a shard keeps, by name, in one variable of Spark's state: each further one is set up anew for every task, which
takes longer than all that a small micro-batch does with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

KEY: Final = "name string"
VALUE: Final = "data binary"


class Entries:
    """state: Spark's MapState from KEY to VALUE."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def get(self, name: str) -> bytes | None:
        stored = self._state.getValue((name,))
        return None if stored is None else bytes(stored[0])

    def put(self, name: str, data: bytes) -> None:
        self._state.updateValue((name,), (data,))

    def remove(self, name: str) -> None:
        self._state.removeKey((name,))

    def names(self) -> Iterator[str]:
        for (name,) in self._state.keys():  # noqa: SIM118 - Spark's map
            yield name
