"""The features of several windows side by side, so that what is said of each is worked out of all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSpec
from tidegauge.reference import FeatureReference
from tidegauge.summaries.moments import Moments
from tidegauge.summaries.window_summary import WindowSummary

Array = NDArray[np.float64]
T = TypeVar("T")


class Summarised(NamedTuple):
    """A window's summary, and the baseline whose features it is of."""

    profile: BaselineProfile
    summary: WindowSummary


@dataclass(frozen=True)
class SideBySide:
    """windows: at least one. Arrays and lists have an entry for each feature of the first, the second and so on."""

    windows: Sequence[Summarised]

    @cached_property
    def lengths(self) -> list[int]:
        """Features of each window."""
        return [len(profile.schema) for profile, _ in self.windows]

    @cached_property
    def features(self) -> list[FeatureSpec]:
        return [feature for profile, _ in self.windows for feature in profile.schema.features]

    @cached_property
    def references(self) -> list[FeatureReference]:
        return [reference for profile, _ in self.windows for reference in profile.references]

    @cached_property
    def quantities(self) -> NDArray[np.bool_]:
        """Features whose values are numbers and not codes."""
        return np.concatenate([profile.schema.quantities for profile, _ in self.windows])

    @cached_property
    def moments(self) -> Moments:
        return Moments.side_by_side([summary.moments for _, summary in self.windows])

    @cached_property
    def effective_values(self) -> Array:
        return np.concatenate([summary.bins.effective_values for _, summary in self.windows])

    @cached_property
    def outermost(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows below and above all of the reference's."""
        counted = [(summary.bins.counts, np.array(summary.bins.bounds)) for _, summary in self.windows]
        below = [counts[bounds[:-1]] for counts, bounds in counted]
        return np.concatenate(below), np.concatenate([counts[bounds[1:] - 2] for counts, bounds in counted])

    def apart(self, of_features: Sequence[T]) -> Iterator[Sequence[T]]:
        """What is said of all features, window by window."""
        end = 0
        for length in self.lengths:
            yield of_features[end : end + length]
            end += length
