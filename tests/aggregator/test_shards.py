from __future__ import annotations

from collections import Counter

import pytest

from aggregator.progress import Place, Progress
from aggregator.segments import Index, Segment
from aggregator.shards import SHARDS, Shard, shard_of
from tidegauge.summaries import container


def test_a_monitor_keeps_its_shard_and_many_are_spread_evenly() -> None:
    assert [shard_of(name) for name in ("doors", "gates", "shuttle")] == ["2", "2", "3"]
    spread = Counter(shard_of(f"monitor-{number}") for number in range(400))
    assert set(spread) == set(SHARDS)
    assert max(spread.values()) < 130


def test_a_shard_survives_its_bytes() -> None:
    shard = Shard()
    assert (shard.get("doors"), shard.wake_ms, shard.due(10**9)) == (Progress(), None, [])
    progress = {"doors": Progress(latest_ms=5, wake_ms=9), "gates": Progress(wake_ms=7), "windows": Progress()}
    for monitor, one in progress.items():
        shard.put(monitor, one)
    shard.segments.next, shard.segments.segments[1] = 2, Segment("segment/1", 3)
    shard.memories["doors"] = {"1/b": Place(1, 2)}
    again = Shard(shard.encode())
    assert again.segments == Index(2, {1: Segment("segment/1", 3)})
    assert again.memories == {"doors": {"1/b": Place(1, 2)}}
    assert {monitor: again.get(monitor) for monitor in progress} == progress
    assert (again.wake_ms, again.due(6), again.due(8), again.due(9)) == (7, [], ["gates"], ["doors", "gates"])
    again.drop("gates")
    assert (again.get("gates"), again.wake_ms) == (Progress(), 9)


def test_a_shard_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="shards of version 7, this program reads 3"):
        Shard(container.dump({"v": 7, "monitors": {}}))
