"""
Whether a quarter of a standard deviation is found: one feature of thirty shifts, at the budget of 1 per 30d; and
whether a correlation that breaks is, which no feature shows and only the outlier scores do.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from scipy.stats import norm

from benchmarks.drift_traffic import FEATURES, SUBJECTS, Stream, scores_of
from benchmarks.drift_watch import Policy, Watcher
from tidegauge.binning import count_bins, cut_edges
from tidegauge.dispersion import LEARNING_PAIRS, Dispersion
from tidegauge.drift_spec import DEFAULT_MINIMUM_EFFECT
from tidegauge.features import FeatureSpec

BASELINES: Final = 40
TRIALS: Final = 10
"""Of each baseline, each with a feature of its own that shifts."""
ROWS: Final = 5000
SHIFT: Final = 0.25
WITHIN_WINDOWS: Final = 2
AFTER_WINDOWS: Final = {
    "as soon as learning ends": LEARNING_PAIRS + 1,
    "after 10 windows": 10,
    "after 200 windows": 200,
}
DEFAULT: Final = Policy(
    15 / (30 * 86_400), DEFAULT_MINIMUM_EFFECT["jensen_shannon"], DEFAULT_MINIMUM_EFFECT["location"]
)
STATED: Final = "after 10 windows"
"""The figure that counts; the others stand beside it."""


BROKEN_BASELINES: Final = 10
LOADING: Final = 0.9
"""Of the factor that the features share two by two: correlations of 0.81."""


def measure() -> dict[str, float]:
    """Share found within two windows, by how long traffic was watched before; and of broken correlations."""
    found: dict[str, list[bool]] = {name: [] for name in AFTER_WINDOWS}
    for seed in range(BASELINES):
        for name, hits in _of_baseline(seed).items():
            found[name] += hits
    found["broken correlation, by the outlier scores"] = [
        hit for seed in range(BROKEN_BASELINES) for hit in _broken_correlations(seed)
    ]
    return {name: float(np.mean(hits)) for name, hits in found.items()}


def _of_baseline(seed: int) -> dict[str, list[bool]]:
    rng = np.random.default_rng([11, seed])
    columns = rng.normal(size=(FEATURES, ROWS))
    edges = [cut_edges(FeatureSpec("x"), column) for column in columns]
    references = tuple(count_bins(e, column) for e, column in zip(edges, columns, strict=True))
    stream = Stream(("numeric",) * FEATURES, references, ROWS, lambda _rng, _windows: iter(()))
    watcher = Watcher(stream, decisions=2 * SUBJECTS)
    clean = _windows(rng, edges, [0.0] * FEATURES, max(AFTER_WINDOWS.values()))
    pairs = watcher.ratios(clean)
    found: dict[str, list[bool]] = {}
    for name, count in AFTER_WINDOWS.items():
        dispersion = Dispersion(cells=np.zeros((3, FEATURES, 80), np.int64))
        for pair in pairs[: count - 1]:
            dispersion = dispersion.add(pair)
        limits = dispersion.for_all_bins(), dispersion.for_location()
        found[name] = [_is_found(watcher, DEFAULT, rng, edges, trial, limits) for trial in range(TRIALS)]
    return found


def _broken_correlations(seed: int) -> list[bool]:
    """Of each trial's windows one feature has its values in another order."""
    rng = np.random.default_rng([13, seed])
    baseline = _in_pairs(rng, ROWS)
    independent = np.ones(1)
    found = []
    for trial in range(TRIALS):
        hit = False
        for _ in range(WITHIN_WINDOWS):
            rows = _in_pairs(rng, ROWS)
            rows[:, trial] = rng.permutation(rows[:, trial])
            bins = scores_of(baseline, FeatureSpec("x"), rows)
            scores = Stream(("numeric",), (bins.reference,), ROWS, lambda _rng, _windows: iter(()))
            watcher = Watcher(scores, decisions=2 * SUBJECTS)
            hit |= bool(
                watcher.alarms(
                    DEFAULT, watcher.effects(bins.window[None, :].astype(np.float64)), independent, independent
                ).any()
            )
        found.append(hit)
    return found


def _in_pairs(rng: np.random.Generator, rows: int) -> Any:
    factors = np.repeat(rng.normal(size=(rows, FEATURES // 2)), 2, axis=1)
    return LOADING * factors + np.sqrt(1 - LOADING**2) * rng.normal(size=(rows, FEATURES))


def _is_found(
    watcher: Watcher, policy: Policy, rng: np.random.Generator, edges: Any, feature: int, limits: Any
) -> bool:
    shifts = [SHIFT if number == feature else 0.0 for number in range(FEATURES)]
    effects = watcher.effects(_windows(rng, edges, shifts, WITHIN_WINDOWS))
    return bool(watcher.alarms(policy, effects, *limits)[:, feature].any())


def _windows(rng: np.random.Generator, edges: Any, shifts: list[float], count: int) -> Any:
    """(windows, bins of all features) of normal rows, by the bins' probabilities."""
    parts = []
    for inner, shift in zip(edges, shifts, strict=True):
        below = np.concatenate([[0.0], norm.cdf(inner - shift), [1.0]])
        parts.append(rng.multinomial(ROWS, [*np.diff(below), 0.0], size=count))
    return np.concatenate(parts, axis=1).astype(np.float64)
