"""What a cause is: one change of one feature, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

CauseKind: TypeAlias = Literal[
    "unit",  # the whole distribution was multiplied, or turned by a known conversion
    "shift",
    "spread",
    "out_of_range",  # values beyond the baseline's, the others as they were
    "constant",
    "no_longer_constant",
    "missing",
    "new_categories",
    "vanished_categories",
    "category_shares",
    "correlation",
    "distribution",  # something else about its values
    "prediction",  # of the model's answers
    "scores",  # of the outlier scores
]

KINDS: Final[tuple[CauseKind, ...]] = get_args(CauseKind)
"""Every kind, for metric labels."""


@dataclass(frozen=True, slots=True)
class Cause:
    """
    feature: its name. effect: size of the change in `unit`. sentence: for people, complete. evidence: the numbers
    behind it. other: the second feature of a pair. mass: share of the rows that the change moved, 0 to 1; it ranks the
    changes of one feature.
    """

    feature: str
    kind: CauseKind
    effect: float
    unit: str
    sentence: str
    evidence: Mapping[str, float] = field(default_factory=dict)
    other: str | None = None
    mass: float = 1.0

    def to_document(self) -> dict[str, Any]:
        return {
            "feature": self.feature,
            "kind": self.kind,
            "effect": self.effect,
            "unit": self.unit,
            "sentence": self.sentence,
            "evidence": dict(self.evidence),
            "other": self.other,
        }


def percent(share: float) -> str:
    """A share for people: 0.1 %, 31 %."""
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"
