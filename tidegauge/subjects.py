"""What of a window is compared with the baseline, one distribution after the other: features, answers, scores."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.capture_spec import Capture
from tidegauge.drift.references import References
from tidegauge.drift.results import Array, Counts
from tidegauge.drift.window_bins import ComparedBins, FeatureBins
from tidegauge.errors import BaselineMismatch, IncompatibleSummaries
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

KNOWN_REFERENCES: Final = 256
"""What windows of so many baselines are compared with stays in memory, some 60 kB each for 30 features."""


@dataclass(frozen=True)
class Subject:
    """One distribution of those that a verdict is made of; the names are different."""

    kind: SubjectKind
    bins: FeatureBins


@dataclass(frozen=True)
class Subjects:
    """All of a window: features first, scores last."""

    kinds: tuple[SubjectKind, ...]
    bins: ComparedBins

    def __len__(self) -> int:
        return len(self.kinds)

    def __iter__(self) -> Iterator[Subject]:
        return map(Subject, self.kinds, self.bins.features)

    @property
    def names(self) -> tuple[str, ...]:
        return self.bins.references.names

    @property
    def rows(self) -> float:
        """Of a window whose records have no values, those with scores."""
        return float(self.bins.rows[0]) or float(self.bins.rows[-1])

    def withheld(self, capture: Capture) -> dict[int, str]:
        """Why the monitor does not tell the values of some, by their place."""
        whys = (_why_withheld(kind, name, capture) for kind, name in zip(self.kinds, self.names, strict=True))
        return {at: why for at, why in enumerate(whys) if why is not None}


def subjects_of(profile: BaselineProfile, summary: WindowSummary, detectors: Sequence[str]) -> Subjects:
    """
    The features in schema order; then the model's outputs, and the scores of the detectors, as far as baseline and
    window have them. Raises IncompatibleSummaries when the summary's bins are not the profile's.
    """
    known = _ByContent(profile.content_id, profile)
    answered = profile.prediction_schema is not None and summary.predictions is not None
    scored = None if summary.p_values is None else _calibrated(profile, detectors)
    counted = [summary.bins, *(summary.predictions.outputs if answered and summary.predictions else ())]
    for bins, bounds in zip(counted, _bounds(known, answered), strict=True):
        if bins.bounds != bounds:
            raise IncompatibleSummaries("bins", bounds, bins.bounds)
    windows = list(map(_window, counted))
    if scored is not None and summary.p_values is not None:
        windows.append(_coarse(_window(summary.p_values.bins)))
    kinds = (*_FEATURE * len(profile.schema), *_PREDICTION * (len(counted) - 1), *_SCORES * (scored is not None))
    together: Any = np.concatenate(windows)
    return Subjects(kinds, ComparedBins(_references(known, answered, scored), together))


_FEATURE: Final[tuple[SubjectKind]] = ("feature",)
_PREDICTION: Final[tuple[SubjectKind]] = ("prediction",)
_SCORES: Final[tuple[SubjectKind]] = ("scores",)


def _why_withheld(kind: SubjectKind, name: str, capture: Capture) -> str | None:
    """Scores are always told."""
    if kind == "feature":
        return capture.why_withheld(name)
    return capture.why_no_predictions if kind == "prediction" else None


@dataclass(frozen=True)
class _ByContent:
    """A profile that is known by what is in it."""

    content_id: str
    profile: BaselineProfile = field(compare=False)


@functools.lru_cache(maxsize=KNOWN_REFERENCES)
def _bounds(known: _ByContent, answered: bool) -> list[tuple[int, ...]]:
    """Of the summary's bins of the features, and of each output's where the model `answered`."""
    profile = known.profile
    together = [profile.references, *((output,) for output in profile.predictions if answered)]
    return [tuple(np.cumsum([0, *(len(reference.counts) for reference in some)]).tolist()) for some in together]


@functools.lru_cache(maxsize=KNOWN_REFERENCES)
def _references(known: _ByContent, answered: bool, scored: tuple[str, ...] | None) -> References:
    """scored: the detectors whose scores are compared; None for none."""
    profile = known.profile
    names, features = list(profile.schema.names), list(profile.schema.features)
    references = list(profile.references)
    if answered and profile.prediction_schema is not None:
        names += [_output_name(output, profile) for output in profile.prediction_schema.names]
        features += profile.prediction_schema.features
        references += profile.predictions
    counts: list[Counts] = [reference.counts for reference in references]
    positions = [reference.positions for reference in references]
    kinds = [feature.kind for feature in features]
    if scored is not None:
        names.append(SCORES + "'" * (SCORES in profile.schema.index))
        counts.append(_coarse(_expected_p_values(profile, scored)))
        positions.append(_POSITIONS)
        kinds.append("numeric")
    return References(counts, names=names, kinds=kinds, positions=positions)


def _output_name(output: str, profile: BaselineProfile) -> str:
    """As the statistics call it, and apart from a feature of that name."""
    name = output if output == SINGLE else f"{SINGLE}.{output}"
    while name in profile.schema.index or name == SCORES:
        name += "'"
    return name


def _window(bins: BinCounts) -> Counts:
    """Weighted counts are scaled to as many rows as they have the precision of."""
    if not bins.strata.parts:
        return bins.counts
    return np.concatenate(
        [
            weighted.counts * (weighted.effective_rows / max(float(weighted.counts.sum()), 1.0))
            for weighted in bins.weighted
        ]
    )


def _calibrated(profile: BaselineProfile, detectors: Sequence[str]) -> tuple[str, ...] | None:
    """As the baseline orders them; None where it does not know this set of detectors."""
    try:
        return tuple(profile.scoring.ordered(detectors))
    except BaselineMismatch:
        return None


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
