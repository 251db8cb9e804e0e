"""How many of the outliers that were marked in the reference data each set of detectors would flag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from tidegauge.errors import InvalidBaseline
from tidegauge.scoring.detector import Array

RATES: Final = tuple(float(f"{digit}e-{power}") for power in range(6, 0, -1) for digit in (1, 2, 5))
"""False-alarm rates, 1e-6 to 0.5, that the share found is known for."""


@dataclass(frozen=True)
class KnownOutliers:
    """rows: how many were marked and scored. flagged: by set of detectors, how many have a p-value <= each of RATES."""

    rows: int = 0
    flagged: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, p_values: Mapping[str, Array]) -> KnownOutliers:
        """p_values: by set of detectors, (outliers,)."""
        rows = max((len(values) for values in p_values.values()), default=0)
        return cls(rows, {name: tuple(_at_most(np.sort(values))) for name, values in p_values.items()})

    def recall(self, detectors: str, false_alarm_rate: float) -> float | None:
        """Share that would be flagged at the largest of RATES not above this one; None where nothing is known."""
        if not self.rows or detectors not in self.flagged or false_alarm_rate < RATES[0]:
            return None
        position = int(np.searchsorted(RATES, false_alarm_rate, side="right")) - 1
        return self.flagged[detectors][position] / self.rows

    def to_document(self) -> dict[str, object]:
        return {"rows": self.rows, "flagged": {name: list(counts) for name, counts in self.flagged.items()}}

    @classmethod
    def from_document(cls, document: Any) -> KnownOutliers:
        """Raises InvalidBaseline. An empty document: none were marked."""
        try:
            flagged = {name: tuple(map(int, counts)) for name, counts in document.get("flagged", {}).items()}
            if any(len(counts) != len(RATES) for counts in flagged.values()):
                raise ValueError("counts for other rates")
            return cls(int(document.get("rows", 0)), flagged)
        except (AttributeError, TypeError, ValueError) as error:
            raise InvalidBaseline(f"known_outliers: {error!r}") from error


def _at_most(ordered: Array) -> list[int]:
    counts: list[int] = np.searchsorted(ordered, RATES, side="right").tolist()
    return counts
