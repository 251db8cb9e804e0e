"""How many requests a window had, with which status codes and issues, and how many of their rows were flagged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegauge.summaries.window_rows import WindowRows


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """
    statuses: requests by HTTP status; issues: values or requests by kind of issue. rows: scored rows; flagged: those
    that were outliers. Merging is exact, commutative and associative.
    """

    requests: int = 0
    rows: int = 0
    flagged: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    issues: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, data: WindowRows) -> RequestCounts:
        issues: Counter[str] = Counter()
        for record in data.records:
            issues.update(record.issues)
        return cls(
            requests=len(data.records),
            rows=sum(len(record.outlier) for record in data.records),
            flagged=sum(sum(map(bool, record.outlier)) for record in data.records),
            statuses=dict(Counter(str(record.status) for record in data.records)),
            issues=dict(+issues),  # a count of 0 would not survive a merge
        )

    def merge(self, other: RequestCounts) -> RequestCounts:
        return RequestCounts(
            requests=self.requests + other.requests,
            rows=self.rows + other.rows,
            flagged=self.flagged + other.flagged,
            statuses=dict(Counter(self.statuses) + Counter(other.statuses)),
            issues=dict(Counter(self.issues) + Counter(other.issues)),
        )

    def to_state(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "rows": self.rows,
            "flagged": self.flagged,
            "statuses": self.statuses,
            "issues": self.issues,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RequestCounts:
        return cls(**state)
