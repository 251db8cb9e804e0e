"""What of a window is compared with the baseline, one distribution after the other: features, answers, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.capture_spec import Capture
from tidegauge.drift.window_bins import Array, Counts, FeatureBins
from tidegauge.errors import BaselineMismatch, IncompatibleSummaries
from tidegauge.features import FeatureSpec
from tidegauge.reference import FeatureReference
from tidegauge.scoring.fitted import set_name
from tidegauge.summaries.bin_counts import BinCounts
from tidegauge.summaries.p_value_counts import EDGES
from tidegauge.summaries.predictions import SINGLE
from tidegauge.summaries.window_summary import WindowSummary

SubjectKind: TypeAlias = Literal["feature", "prediction", "scores"]

SCORES: Final = "outlier_scores"

FIRST_EDGE: Final = EDGES.index(0.001)
"""P-values up to 0.001 are one bin: of usual windows, too few rows are less probable to tell more of them."""

_EDGES: Final = np.array(EDGES[FIRST_EDGE:])

_POSITIONS: Final = np.log10([_EDGES[0], *np.sqrt(_EDGES[:-1] * _EDGES[1:]), 0.75])
"""Of the bins of p-values: their geometric middles, in powers of ten."""


SCORE_BINS: Final = tuple(f"p {low:g} to {high:g}" for low, high in pairwise([0.0, *_EDGES.tolist(), 1.0]))
"""What the bins of scores are called, but for the missing ones."""


@dataclass(frozen=True)
class Subject:
    """One distribution of those that a verdict is made of; the names are different."""

    kind: SubjectKind
    bins: FeatureBins

    def why_withheld(self, capture: Capture) -> str | None:
        """Why the monitor does not tell its values; None where it does. Scores are always told."""
        if self.kind == "feature":
            return capture.why_withheld(self.bins.name)
        return capture.why_no_predictions if self.kind == "prediction" else None


def subjects_of(profile: BaselineProfile, summary: WindowSummary, detectors: Sequence[str]) -> list[Subject]:
    """
    The features in schema order; then the model's outputs, and the scores of the detectors, as far as baseline and
    window have them. Raises IncompatibleSummaries when the summary's bins are not the profile's.
    """
    features = _compared(profile.schema.features, profile.references, summary.bins)
    found = [Subject("feature", bins) for bins in features]
    if profile.prediction_schema is not None and summary.predictions is not None:
        outputs = zip(profile.prediction_schema.features, profile.predictions, summary.predictions.outputs, strict=True)
        found += [
            Subject("prediction", _named(bins, profile))
            for feature, reference, counts in outputs
            for bins in _compared((feature,), (reference,), counts)
        ]
    scores = _scores(profile, summary, detectors)
    return found if scores is None else [*found, Subject("scores", scores)]


def _compared(
    features: Sequence[FeatureSpec], references: Sequence[FeatureReference], bins: BinCounts
) -> list[FeatureBins]:
    bounds = tuple(np.cumsum([0, *(len(reference.counts) for reference in references)]).tolist())
    if bins.bounds != bounds:
        raise IncompatibleSummaries("bins", bounds, bins.bounds)
    return [
        FeatureBins(feature.name, feature.kind, reference.counts, counts, reference.positions)
        for feature, reference, counts in zip(features, references, _windows(bins), strict=True)
    ]


def _named(bins: FeatureBins, profile: BaselineProfile) -> FeatureBins:
    """As the statistics call it, and apart from a feature of that name."""
    name = bins.name if bins.name == SINGLE else f"{SINGLE}.{bins.name}"
    while name in profile.schema.index or name == SCORES:
        name += "'"
    return FeatureBins(name, bins.kind, bins.reference, bins.window, bins.positions)


def _windows(bins: BinCounts) -> list[Counts]:
    """Weighted counts are scaled to as many rows as they have the precision of."""
    if not bins.strata.parts:
        return list(bins.by_feature())
    return [
        weighted.counts * (weighted.effective_rows / max(float(weighted.counts.sum()), 1.0))
        for weighted in bins.weighted
    ]


def _scores(profile: BaselineProfile, summary: WindowSummary, detectors: Sequence[str]) -> FeatureBins | None:
    """The combined p-values; None where they were not counted, or the baseline does not know this set of detectors."""
    if summary.p_values is None:
        return None
    try:
        chosen = profile.scoring.ordered(detectors)
    except BaselineMismatch:
        return None
    name = SCORES + "'" * (SCORES in profile.schema.index)
    reference, window = _expected_p_values(profile, chosen), _windows(summary.p_values.bins)[0]
    return FeatureBins(name, "numeric", _coarse(reference), _coarse(window), _POSITIONS)


def _coarse(counts: Counts) -> Counts:
    """The bins up to FIRST_EDGE as one."""
    return np.concatenate([counts[: FIRST_EDGE + 1].sum(keepdims=True), counts[FIRST_EDGE + 1 :]])


def _expected_p_values(profile: BaselineProfile, detectors: Sequence[str]) -> Array:
    """
    Of rows like those the baseline is of: even, as conformal p-values are, with the precision of the held-out rows; and
    the known outliers' own in their share of the data.
    """
    normal = np.diff([0.0, *EDGES, 1.0])
    rows = profile.scoring.held_out_of(detectors).n
    flagged = profile.scoring.known_outliers.flagged.get(set_name(detectors))
    outliers = profile.scoring.known_outliers.rows
    if not flagged or not outliers:
        return np.append(rows * normal, 0.0)
    share = profile.outliers / profile.rows
    unusual = np.diff([0, *flagged, outliers]) / outliers
    return np.append(rows / (1 - share) * ((1 - share) * normal + share * unusual), 0.0)
