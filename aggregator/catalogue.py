"""The monitors that one query serves, with their baseline profiles; small enough to travel to every Python worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from tidegauge.baseline import BaselineProfile
from tidegauge.monitor import ModelMonitor


@dataclass(frozen=True)
class Catalogue:
    """
    monitors: by name. baselines: content id by monitor name. profiles: the profile's bytes by content id, which are
    parsed on first use in each process, since a parsed profile is many times their size.
    """

    monitors: Mapping[str, ModelMonitor]
    baselines: Mapping[str, str]
    profiles: Mapping[str, bytes]
    earlier: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By monitor name: content ids of baselines that it had before, and whose records are still taken."""

    def accepts(self, monitor: str, baseline: str) -> bool:
        return baseline == self.baselines.get(monitor) or baseline in self.earlier.get(monitor, ())

    def with_earlier(self, earlier: Mapping[str, tuple[str, ...]], profiles: Mapping[str, bytes]) -> Catalogue:
        """profiles: of the earlier ones, by content id; those that are missing are not taken."""
        known = {name: tuple(one for one in ids if one in profiles) for name, ids in earlier.items()}
        return replace(self, profiles={**profiles, **self.profiles}, earlier=known)

    def profile(self, baseline: str) -> BaselineProfile | None:
        data = self.profiles.get(baseline)
        return None if data is None else _load(data)

    def inference_topics(self) -> list[str]:
        return sorted({monitor.kafka.topics.inference.name for monitor in self.monitors.values()})

    def dead_letter_topic(self, inference_topic: str) -> str:
        """Several monitors may share an inference topic: then the dead-letter topic of the first by name takes all."""
        fitting = [m for m in self.monitors.values() if m.kafka.topics.inference.name == inference_topic]
        named = sorted(fitting or self.monitors.values(), key=lambda monitor: monitor.name)
        return named[0].kafka.topics.dead_letter.name


@lru_cache(maxsize=256)
def _load(data: bytes) -> BaselineProfile:
    return BaselineProfile.load(data)
