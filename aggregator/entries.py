"""
What of a shard is in Spark's state, by name, in one variable: each further one is set up anew for every task, which
takes longer than all that a small micro-batch does with it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final

KEY: Final = "name string"
VALUE: Final = "text string, data binary"
"""
One of the two, the other is null. Spark hands bytes over character by character, and texts as they are: what is asked
for again soon is written as a text (base64), and what hardly ever is as bytes, which take less room.
"""


class Entries:
    """state: Spark's MapState from KEY to VALUE."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def get(self, name: str) -> bytes | None:
        stored = self._state.getValue((name,))
        if stored is None:
            return None
        text, data = stored
        return bytes(data) if text is None else b64decode(text)

    def put(self, name: str, data: bytes) -> None:
        """What will be asked for in the next micro-batches."""
        self._state.updateValue((name,), (b64encode(data).decode(), None))

    def put_away(self, name: str, data: bytes) -> None:
        """What will hardly be asked for."""
        self._state.updateValue((name,), (None, data))

    def remove(self, name: str) -> None:
        self._state.removeKey((name,))
