"""How many requests a window had, with which status codes and issues, and how many of their rows were flagged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidegauge.summaries.gathered_records import GatheredRecords
from tidegauge.summaries.strata import Strata, by_weight
from tidegauge.summaries.window_rows import WindowRows

TallyCounter = Counter[str]


@dataclass(frozen=True)
class RequestCounts:
    """
    statuses: requests by HTTP status; issues: values or requests by kind of issue. rows: scored rows; flagged: those
    that were outliers. strata: of the requests whose weight is not 1, by weight, counts named as `weighted` names them.
    Merging is exact, commutative and associative.
    """

    requests: int = 0
    rows: int = 0
    flagged: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    issues: Mapping[str, int] = field(default_factory=dict)
    strata: Strata[TallyCounter] = field(default_factory=Strata)

    @classmethod
    def of(cls, data: WindowRows) -> RequestCounts:
        issues = Counter(data.records.issues)
        if data.infinite is not None:
            issues["non_finite"] += int(data.infinite.sum())
        return cls(
            requests=len(data.records),
            rows=len(data.flags.outlier),
            flagged=int(data.flags.outlier.sum()),
            statuses={str(status): count for status, count in Counter(data.records.statuses()).items()},
            issues=dict(+issues),  # a count of 0 would not survive a merge
            strata=_rows_by_weight(data).merge(_requests_by_weight(data.records)),
        )

    def merge(self, other: RequestCounts) -> RequestCounts:
        return RequestCounts(
            requests=self.requests + other.requests,
            rows=self.rows + other.rows,
            flagged=self.flagged + other.flagged,
            statuses=dict(Counter(self.statuses) + Counter(other.statuses)),
            issues=dict(Counter(self.issues) + Counter(other.issues)),
            strata=self.strata.merge(other.strata),
        )

    def weighted(self) -> dict[str, float]:
        """Sums of weights: "requests", "rows", "flagged", and "status.200" and its like."""
        named = {f"status.{status}": count for status, count in self.statuses.items()}
        sums: dict[str, float] = {"requests": self.requests, "rows": self.rows, "flagged": self.flagged, **named}
        for weight, counts in sorted(self.strata.parts.items()):
            for name, count in counts.items():
                sums[name] += (weight - 1) * count
        return sums

    def effective_rows(self) -> float:
        """Of how many equally weighted scored rows the weighted ones have the precision; `rows` without weights."""
        sampled = [(weight, counts["rows"]) for weight, counts in self.strata.parts.items()]
        squares = self.rows + sum((weight * weight - 1) * count for weight, count in sampled)
        return self.weighted()["rows"] ** 2 / squares if squares else 0.0

    def to_state(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "rows": self.rows,
            "flagged": self.flagged,
            "statuses": self.statuses,
            "issues": self.issues,
            "strata": self.strata.to_state(dict),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RequestCounts:
        """Also of the first format, which had no weights."""
        strata = state.get("strata", {"parts": [], "coarse": False})
        return cls(**(state | {"strata": Strata.from_state(strata, TallyCounter)}))


def _requests_by_weight(records: GatheredRecords) -> Strata[TallyCounter]:
    weights = records.weights()
    if weights is None:
        return Strata()
    sampled = weights != 1
    statuses = np.array([f"status.{status}" for status in records.statuses()])[sampled]
    return by_weight(
        weights[sampled], lambda chosen: Counter({"requests": int(chosen.sum()), **Counter(statuses[chosen].tolist())})
    )


def _rows_by_weight(data: WindowRows) -> Strata[TallyCounter]:
    if data.flags.weights is None:
        return Strata()
    sampled = data.flags.weights != 1
    outlier = data.flags.outlier[sampled]
    return by_weight(
        data.flags.weights[sampled],
        lambda chosen: +Counter({"rows": int(chosen.sum()), "flagged": int(outlier[chosen].sum())}),
    )
