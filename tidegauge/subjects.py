"""What of a window is compared with the baseline, one distribution after the other."""

from __future__ import annotations

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.drift.window_bins import Counts, FeatureBins
from tidegauge.errors import IncompatibleSummaries
from tidegauge.summaries.bin_counts import BinCounts
from tidegauge.summaries.window_summary import WindowSummary


def subjects_of(profile: BaselineProfile, summary: WindowSummary) -> list[FeatureBins]:
    """In schema order. Raises IncompatibleSummaries when the summary's bins are not the profile's."""
    bounds = tuple(np.cumsum([0, *(len(reference.counts) for reference in profile.references)]).tolist())
    if summary.bins.bounds != bounds:
        raise IncompatibleSummaries("bins", bounds, summary.bins.bounds)
    described = zip(profile.schema.features, profile.references, _windows(summary.bins), strict=True)
    return [
        FeatureBins(feature.name, feature.kind, reference.counts, counts, reference.positions)
        for feature, reference, counts in described
    ]


def _windows(bins: BinCounts) -> list[Counts]:
    """Weighted counts are scaled to as many rows as they have the precision of."""
    if not bins.strata.parts:
        return list(bins.by_feature())
    return [
        weighted.counts * (weighted.effective_rows / max(float(weighted.counts.sum()), 1.0))
        for weighted in bins.weighted
    ]
