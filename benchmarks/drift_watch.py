"""
Many windows judged at once, by the kernel's own parts: the same divergences, scores, dispersion and tails as `judge`.

Non-central tails are computed only of divergences that could be an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift_traffic import Counts, Stream
from tidegauge.budget import BASELINE_RISK
from tidegauge.dispersion import Dispersion, ratios
from tidegauge.drift import normal_tail
from tidegauge.drift.chi_squared import inverse_survivals, log_survivals
from tidegauge.drift.jensen_shannon import divergence_parts
from tidegauge.drift.references import References, smoothed

Array = NDArray[np.float64]

CLOSELY: Final = 200
"""So many windows are judged with the dispersion as it is; later it changes little, and is taken anew every ten."""


@dataclass(frozen=True)
class Policy:
    """per_window: false alarms that a window may spend."""

    per_window: float
    divergence: float
    location: float


class Watcher:
    """One baseline: effects of windows against it, and who of them is an alarm."""

    def __init__(self, stream: Stream, *, decisions: int | None = None) -> None:
        """decisions: that share the budget; by default two for each feature of the stream."""
        self._stream = stream
        self._references = of = References(stream.references, kinds=stream.kinds)
        self._sizes, self._starts, self._shares = of.sizes, of.starts, of.shares
        self._rows, self._values, self._scores = of.rows, of.values, of.location
        self._ordered = of.ordered & of.located
        self._decisions = decisions or 2 * len(stream.references)

    def flat(self, counts: Counts) -> Array:
        """(windows, features, widest) -> (windows, bins of all features)."""
        parts = [counts[:, feature, :size] for feature, size in enumerate(self._sizes.tolist())]
        return np.concatenate(parts, axis=1).astype(np.float64)

    def effects(self, flat: Array) -> tuple[Array, Array, Array]:
        """(windows, features): divergence, location, values present."""
        rows = np.add.reduceat(flat, self._starts, axis=1)
        parts = divergence_parts(self._shares, smoothed(flat, rows, self._sizes))
        values = rows - flat[:, self._starts + self._sizes - 1]
        location = np.add.reduceat(flat * self._scores, self._starts, axis=1) / np.maximum(values, 1)
        return np.add.reduceat(parts, self._starts, axis=1), location, values

    def ratios(self, flat: Array) -> Array:
        """Of each window and the one before, (windows - 1, 3, features)."""
        return np.moveaxis(ratios([self._references], flat[:-1], flat[1:]), 0, 1)

    def alarms(
        self, policy: Policy, effects: tuple[Array, Array, Array], all_bins: Array, of_location: Array
    ) -> NDArray[np.bool_]:
        """(windows, features). all_bins, of_location: dispersions, (windows, features) or (features,)."""
        divergence, location, values = effects
        level = policy.per_window / self._decisions
        baseline = BASELINE_RISK / self._decisions
        uncertainty = normal_tail.inverse_survival(baseline / 2) / np.sqrt(self._values)
        excess = np.abs(location) - np.maximum(policy.location, uncertainty)
        found = excess * np.sqrt(values / of_location) > normal_tail.inverse_survival(level / 2)
        found &= self._ordered
        scale = 8 * self._stream.rows / np.broadcast_to(all_bins, divergence.shape)
        df = self._sizes - 1
        central = inverse_survivals(level, df)
        uncertain = inverse_survivals(baseline, df) / (8 * self._rows)
        allowed = np.maximum(policy.divergence, uncertain)
        # A far quantile of the non-central distribution lies above the central one plus the non-centrality.
        close = np.nonzero(scale * (divergence - allowed) > central)
        by, feature = scale[close], close[1]
        found[close] |= log_survivals(by * divergence[close], df[feature], by * allowed[feature]) <= math.log(level)
        return np.asarray(found)


def watched(
    stream: Stream, rng: np.random.Generator, windows: int, policies: dict[str, Policy]
) -> dict[str, NDArray[np.bool_]]:
    """Per policy, whether each window was an alarm, with the dispersion learnt on the way as an aggregator does."""
    watcher, dispersion = Watcher(stream), Dispersion(cells=np.zeros((3, len(stream.references), 80), np.int64))
    found: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in policies}
    last: Array | None = None
    for counts in stream.chunks(rng, windows):
        flat = watcher.flat(counts)
        joined = flat if last is None else np.concatenate([last, flat])
        pairs = watcher.ratios(joined)
        dispersions = list(_dispersions(dispersion, pairs, first=last is None))
        dispersion = dispersions[-1][0]
        all_bins = np.stack([one[1] for one in dispersions])
        of_location = np.stack([one[2] for one in dispersions])
        effects = watcher.effects(flat)
        for name, policy in policies.items():
            found[name].append(watcher.alarms(policy, effects, all_bins, of_location).any(axis=1))
        last = flat[-1:]
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _dispersions(dispersion: Dispersion, pairs: Array, *, first: bool) -> Iterator[tuple[Dispersion, Array, Array]]:
    """One per window: the dispersion after it, and the two limits that it is judged by."""
    limits = dispersion.for_all_bins(), dispersion.for_location()
    if first:
        yield dispersion, *limits
    for pair in pairs:
        if dispersion.pairs < CLOSELY or not dispersion.pairs % 10:
            limits = dispersion.for_all_bins(), dispersion.for_location()
        dispersion = dispersion.add(pair)
        yield dispersion, *limits
