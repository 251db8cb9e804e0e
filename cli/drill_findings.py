"""What a drill has found: a shadow's verdicts and alerts marked against what was done to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sighting:
    """The first that names the feature. windows: judged since the change, this one included."""

    windows: int
    seconds: float

    def to_document(self) -> dict[str, float]:
        return {"windows": self.windows, "seconds": round(self.seconds, 3)}


@dataclass
class Findings:
    """
    learnt, quiet, changed: windows by what they are for: those that were only learnt from, those judged before the
    change, and those that hold some of it. others: {feature: windows} that were named beside the one that was changed,
    before the change and after it.
    """

    feature: str
    from_ms: int
    learnt: int = 0
    quiet: int = 0
    changed: int = 0
    alarms_before: int = 0
    named_before: int = 0
    others_before: Counter[str] = field(default_factory=Counter)
    others_after: Counter[str] = field(default_factory=Counter)
    verdict: Sighting | None = None
    alert: Sighting | None = None
    _seen: set[int] = field(default_factory=set)

    @property
    def is_found(self) -> bool:
        """A feature that is named without a change, too, has not been found by it."""
        return self.verdict is not None and not self.named_before

    def report(self, document: Mapping[str, Any], seen_ms: int) -> None:
        """seen_ms: when it was known. Corrected reports and windows without traffic say nothing here."""
        start_ms, end_ms = document["window"]["start_ms"], document["window"]["end_ms"]
        if start_ms in self._seen or not document["requests"]:
            return
        self._seen.add(start_ms)
        others = [name for name in document["drifted_features"] if name != self.feature]
        is_named = self.feature in document["drifted_features"]
        if end_ms <= self.from_ms:
            self._before(document["verdict"], others, is_named)
            return
        self.changed += 1
        self.others_after.update(others)
        if is_named and self.verdict is None:
            self.verdict = self._sighting(seen_ms)

    def told(self, document: Mapping[str, Any], seen_ms: int) -> None:
        """An alert."""
        is_about = any(one["name"] == self.feature for one in document["features"])
        if self.alert is None and is_about and document["status"] == "firing" and document["last_ms"] > self.from_ms:
            self.alert = self._sighting(seen_ms)

    def to_document(self) -> dict[str, Any]:
        return {
            "found": self.is_found,
            "feature": self.feature,
            "verdict": self.verdict and self.verdict.to_document(),
            "alert": self.alert and self.alert.to_document(),
            "windows": {"learnt": self.learnt, "before": self.quiet, "after": self.changed},
            "before": {
                "alarms": self.alarms_before,
                "named": self.named_before,
                "others": dict(self.others_before),
            },
            "after": {"others": dict(self.others_after)},
        }

    def _before(self, verdict: str, others: list[str], is_named: bool) -> None:
        if verdict == "learning":
            self.learnt += 1
            return
        self.quiet += 1
        self.alarms_before += verdict == "drift"
        self.named_before += is_named
        self.others_before.update(others)

    def _sighting(self, seen_ms: int) -> Sighting:
        return Sighting(max(1, self.changed), (seen_ms - self.from_ms) / 1000)
