"""What of a window is compared with the baseline, one distribution after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.binning import Edges
from tidegauge.drift.window_bins import Counts
from tidegauge.errors import IncompatibleSummaries
from tidegauge.features import Kind
from tidegauge.summaries.bin_counts import BinCounts
from tidegauge.summaries.window_summary import WindowSummary


@dataclass(frozen=True)
class Subject:
    """reference, window: counts of the same bins, missing last. positions: as WindowBins has them."""

    name: str
    kind: Kind
    reference: Counts
    window: Counts
    positions: NDArray[np.float64] | None


def subjects_of(profile: BaselineProfile, summary: WindowSummary) -> list[Subject]:
    """In schema order. Raises IncompatibleSummaries when the summary's bins are not the profile's."""
    bounds = tuple(np.cumsum([0, *(len(reference.counts) for reference in profile.references)]).tolist())
    if summary.bins.bounds != bounds:
        raise IncompatibleSummaries("bins", bounds, summary.bins.bounds)
    described = zip(profile.schema.features, profile.references, _windows(summary.bins), strict=True)
    return [
        Subject(feature.name, feature.kind, reference.counts, counts, _positions(feature.kind, reference.edges))
        for feature, reference, counts in described
    ]


def _windows(bins: BinCounts) -> list[Counts]:
    """Weighted counts are scaled to as many rows as they have the precision of."""
    if not bins.strata.parts:
        return list(bins.by_feature())
    return [
        weighted.counts * (weighted.effective_rows / max(float(weighted.counts.sum()), 1.0))
        for weighted in bins.weighted()
    ]


def _positions(kind: Kind, edges: Edges) -> NDArray[np.float64] | None:
    """The middle of each bin; of the two open ones, their edge."""
    if kind == "categorical" or not len(edges):
        return None
    return np.concatenate([edges[:1], (edges[:-1] + edges[1:]) / 2, edges[-1:]])
