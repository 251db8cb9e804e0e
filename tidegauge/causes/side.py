"""One feature, baseline and window side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSpec
from tidegauge.reference import FeatureReference
from tidegauge.summaries.window_summary import WindowSummary

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """
    counts: the window's, in the reference's bins, missing last; weighted ones where the traffic was sampled. rows,
    values: how many independent rows they are worth. mean, sd (population), low, high: of the window's values; NaN and
    infinities where there are none.
    """

    feature: FeatureSpec
    reference: FeatureReference
    counts: Array
    rows: float
    values: float
    mean: float
    sd: float
    low: float
    high: float

    @cached_property
    def missing(self) -> tuple[float, float]:
        """Share of rows without a value: baseline, window."""
        total = float(self.counts.sum())
        return self.reference.missing / max(self.reference.rows, 1), float(self.counts[-1]) / total if total else 0.0

    @cached_property
    def shares(self) -> tuple[Array, Array]:
        """Per bin, of the rows with a value: baseline, window."""
        before, now = self.reference.counts[:-1].astype(np.float64), self.counts[:-1]
        return before / max(float(before.sum()), 1.0), now / max(float(now.sum()), 1.0)

    @cached_property
    def moved(self) -> float:
        """Share of the values that are in another bin than the baseline would have them (total variation)."""
        before, now = self.shares
        return float(np.abs(now - before).sum()) / 2

    @cached_property
    def noise(self) -> float:
        """Of `moved`, what samples of these sizes have without any change: E|N| = sqrt(2 / pi) per bin."""
        before, _ = self.shares
        reference = max(self.reference.rows - self.reference.missing, 1)
        per_row = 1 / max(self.values, 1.0) + 1 / reference
        return float(np.sqrt(before * (1 - before) * per_row).sum()) * math.sqrt(2 / math.pi) / 2

    @cached_property
    def values_changed(self) -> bool:
        return self.moved > 2 * self.noise + 0.01


def side_of(profile: BaselineProfile, summary: WindowSummary, feature: str) -> Side:
    """feature: the name of one of the profile's."""
    at, moments = profile.schema.index[feature], summary.moments
    bins = summary.bins.weighted[at]
    return Side(
        feature=profile.schema.features[at],
        reference=profile.references[at],
        counts=bins.counts,
        rows=bins.effective_rows,
        values=bins.effective_values,
        mean=float(moments.mean[at]),
        sd=float(moments.population_standard_deviation()[at]),
        low=float(moments.low[at]),
        high=float(moments.high[at]),
    )
