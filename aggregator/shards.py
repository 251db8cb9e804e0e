"""
Monitors in a few shards: Spark's state has a key for each shard and not for each monitor.

Windows of many monitors that end together are then judged together, in a part of the time, and what Spark asks for each
key is asked a few times a micro-batch.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from aggregator.progress import Place, Progress
from aggregator.segments import Index
from tidegauge.summaries import container

SHARDS: Final = ("0", "1", "2", "3")
"""Named so that Spark deals them evenly to two tasks, and to four. A checkpoint is of one number of them."""

VERSION: Final = 3


def shard_of(monitor: str) -> str:
    return SHARDS[zlib.crc32(monitor.encode()) % len(SHARDS)]


class Shard:
    """
    The progress of a shard's monitors, which segments it has, and in which places of them the monitors' memories are
    (segments.StoredMemories). The progress of a monitor which nobody asks for stays the bytes that it came as.
    """

    def __init__(self, stored: bytes | None = None) -> None:
        """Raises ValueError for the state of another version: the checkpoint is not this program's."""
        nothing = {"v": VERSION, "monitors": {}, "segments": Index().to_document(), "memories": {}}
        state: dict[str, Any] = nothing if stored is None else container.load(stored)
        if state["v"] != VERSION:
            raise ValueError(f"checkpoint has shards of version {state['v']!r}, this program reads {VERSION}")
        self._encoded: dict[str, bytes] = {}
        self._wake_ms: dict[str, int | None] = {}
        for monitor, (wake_ms, encoded) in state["monitors"].items():
            self._wake_ms[monitor], self._encoded[monitor] = wake_ms, encoded
        self.segments = Index.from_document(state["segments"])
        self.memories = {
            monitor: {name: Place(*place) for name, place in places.items()}
            for monitor, places in state["memories"].items()
        }

    @property
    def wake_ms(self) -> int | None:
        """When the first of its monitors wants to be looked at; None where none does."""
        return min((wake_ms for wake_ms in self._wake_ms.values() if wake_ms is not None), default=None)

    def due(self, now_ms: int) -> list[str]:
        return [monitor for monitor, wake_ms in self._wake_ms.items() if wake_ms is not None and wake_ms <= now_ms]

    def get(self, monitor: str) -> Progress:
        encoded = self._encoded.get(monitor)
        return Progress() if encoded is None else Progress.decode(encoded)

    def put(self, monitor: str, progress: Progress) -> None:
        self._encoded[monitor], self._wake_ms[monitor] = progress.encode(), progress.wake_ms

    def drop(self, monitor: str) -> None:
        del self._encoded[monitor], self._wake_ms[monitor]

    def encode(self) -> bytes:
        monitors = {monitor: [self._wake_ms[monitor], encoded] for monitor, encoded in self._encoded.items()}
        segments = self.segments.to_document()
        return container.dump({"v": VERSION, "monitors": monitors, "segments": segments, "memories": self.memories})
