"""How often the model answered with which label, per output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final, TypeAlias

import numpy as np

from tidegauge.summaries.predictions import Labels
from tidegauge.summaries.strata import Strata, by_weight
from tidegauge.summaries.window_rows import WindowRows

MOST_LABELS: Final = 256
"""
Of all outputs. Where there are more, the first ones in alphabetical order are kept, and the others are counted as
such: which are kept, and their counts, are the same in any order of merging, which the most frequent ones' are not.
"""

Key: TypeAlias = tuple[str, str]
"""(output, label)"""


@dataclass(frozen=True)
class Tally:
    """counts: of kept labels. totals: rows with any label, by output. Exact, commutative and associative."""

    counts: Mapping[Key, int] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        counts = Counter(self.counts) + Counter(other.counts)
        kept = counts if len(counts) <= MOST_LABELS else {key: counts[key] for key in sorted(counts)[:MOST_LABELS]}
        return Tally(dict(kept), dict(Counter(self.totals) + Counter(other.totals)))


@dataclass(frozen=True)
class LabelCounts:
    """rows: whatever their weights. strata: those whose weight is not 1, by weight."""

    rows: Tally = field(default_factory=Tally)
    strata: Strata[Tally] = field(default_factory=Strata)

    @classmethod
    def of(cls, data: WindowRows) -> LabelCounts:
        counted = list(map(_of_output, data.labels))
        return reduce(cls.merge, counted) if counted else cls()

    def merge(self, other: LabelCounts) -> LabelCounts:
        return LabelCounts(self.rows + other.rows, self.strata.merge(other.strata))

    def weighted(self) -> tuple[dict[Key, float], dict[str, float]]:
        """Sums of weights instead of rows: by label, and by output."""
        counts: dict[Key, float] = dict(self.rows.counts)
        totals: dict[str, float] = dict(self.rows.totals)
        for weight, tally in sorted(self.strata.parts.items()):
            for key, count in tally.counts.items():
                if key in counts:
                    counts[key] += (weight - 1) * count
            for output, count in tally.totals.items():
                totals[output] += (weight - 1) * count
        return counts, totals

    def to_state(self) -> dict[str, Any]:
        return {"rows": _state(self.rows), "strata": self.strata.to_state(_state)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> LabelCounts:
        return cls(_tally(state["rows"]), Strata.from_state(state["strata"], _tally))


def _of_output(labels: Labels) -> LabelCounts:
    def tally(values: Sequence[str]) -> Tally:
        counts = Counter(values)
        kept = {(labels.output, label): count for label, count in counts.items()}
        return Tally() + Tally(kept, {labels.output: counts.total()})

    strata: Strata[Tally] = Strata()
    if labels.weights is not None:
        sampled = labels.weights != 1
        values = np.array(labels.values, dtype=object)[sampled]
        strata = by_weight(labels.weights[sampled], lambda chosen: tally(values[chosen].tolist()))
    return LabelCounts(tally(labels.values), strata)


def _state(tally: Tally) -> list[Any]:
    return [[[*key, count] for key, count in sorted(tally.counts.items())], dict(sorted(tally.totals.items()))]


def _tally(state: list[Any]) -> Tally:
    counts, totals = state
    return Tally({(output, label): count for output, label, count in counts}, dict(totals))
