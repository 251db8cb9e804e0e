"""
Labelled data that detectors are compared on: rows to fit to, rows to score, and which of those are outliers.

Labels never reach a detector. The real sets are fitted as they come, outliers included. Shuttle is NASA's Statlog data
as river bundles it: 49,097 rows, 7 % outliers, the form of it that PyOD's benchmark uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegauge.features import Matrix

Flags: TypeAlias = NDArray[np.bool_]
Generator: TypeAlias = np.random.Generator
Draw: TypeAlias = Callable[[Generator, int], Matrix]


@dataclass(frozen=True)
class Trial:
    fitting: Matrix
    rows: Matrix
    outlier: Flags
    """Of `rows`."""


@dataclass(frozen=True)
class DataSet:
    trial: Callable[[int], Trial]
    """Of a seed."""
    seeds: int
    continuous: bool = False
    counted: bool = True
    """False: beyond what the score promises, and told beside it."""


@cache
def shuttle() -> tuple[Matrix, Flags]:
    from river import datasets

    rows, labels = zip(*((list(row.values()), label) for row, label in datasets.Shuttle()), strict=True)
    return np.array(rows, dtype=np.float64), np.array(labels) == 1


def shuttle_60_40(seed: int) -> Trial:
    """PyOD's protocol: fitted to 60 %, unlabelled, scored on the rest."""
    return _parted(*shuttle(), np.random.default_rng(seed))


def shuttle_stream(seed: int) -> Trial:
    rows, outlier = shuttle()
    return Trial(rows[:1000], rows[1000:10_000], outlier[1000:10_000])


def breast_cancer(seed: int) -> Trial:
    """Benign cells, 357; 20 malignant ones among them."""
    rows, labels = _bundled("breast_cancer")
    return _down_sampled(rows[labels == 1], rows[labels == 0], 20, seed)


def digits(seed: int) -> Trial:
    """One digit, each in turn, some 178 times; 20 other digits among them."""
    rows, labels = _bundled("digits")
    return _down_sampled(rows[labels == seed % 10], rows[labels != seed % 10], 20, seed)


def wine(seed: int) -> Trial:
    """The second and third kind, 119; 10 of the first among them."""
    rows, labels = _bundled("wine")
    return _down_sampled(rows[labels != 0], rows[labels == 0], 10, seed)


@cache
def _bundled(name: str) -> tuple[Matrix, NDArray[np.int_]]:
    from sklearn import datasets

    loaded: Any = getattr(datasets, f"load_{name}")()
    return np.asarray(loaded.data, dtype=np.float64), np.asarray(loaded.target)


def _down_sampled(inliers: Matrix, outliers: Matrix, kept: int, seed: int) -> Trial:
    rng = np.random.default_rng(seed)
    chosen = outliers[rng.choice(len(outliers), kept, replace=False)]
    rows, outlier = np.vstack([inliers, chosen]), np.arange(len(inliers) + kept) >= len(inliers)
    while True:
        trial = _parted(rows, outlier, rng)
        if trial.outlier.sum() >= 2:
            return trial


def _parted(rows: Matrix, outlier: Flags, rng: Generator) -> Trial:
    order = rng.permutation(len(rows))
    fitting, scored = np.split(order, [round(0.6 * len(rows))])
    return Trial(rows[fitting], rows[scored], outlier[scored])


FITTED: Final = 4000
SCORED: Final = 2000
OUTLIERS: Final = 0.05


def broken_correlations(seed: int, *, unmarked: float = 0.0) -> Trial:
    """
    20 features that follow 5 hidden ones; in an outlier each value is another row's, so none is unusual by itself.
    unmarked: share of such rows among those fitted to.
    """
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(5, 20))

    def normal(rng: Generator, rows: int) -> Matrix:
        return np.asarray(rng.normal(size=(rows, 5)) @ hidden + 0.9 * rng.normal(size=(rows, 20)))

    return _planted(rng, normal, lambda rng, rows: rng.permuted(normal(rng, rows), axis=0), unmarked)


def single_feature_spikes(seed: int, *, unmarked: float = 0.0) -> Trial:
    """20 skewed, slightly correlated features; in an outlier one value lies 6 to 12 standard deviations off."""
    rng = np.random.default_rng(seed)
    mixing = 0.15 * rng.normal(size=(20, 20)) + np.eye(20)

    def normal(rng: Generator, rows: int) -> Matrix:
        return np.asarray(np.exp(0.5 * rng.normal(size=(rows, 20)) @ mixing))

    spread = normal(rng, 10_000).std(axis=0)

    def spiked(rng: Generator, rows: int) -> Matrix:
        matrix, feature = normal(rng, rows), rng.integers(20, size=rows)
        heights = rng.choice([-1, 1], rows) * rng.uniform(6, 12, rows)
        matrix[np.arange(rows), feature] += heights * spread[feature]
        return matrix

    return _planted(rng, normal, spiked, unmarked)


def _planted(rng: Generator, normal: Draw, faulty: Draw, unmarked: float) -> Trial:
    faults_fitted, faults = round(unmarked * FITTED), round(OUTLIERS * SCORED)
    fitting = np.vstack([normal(rng, FITTED - faults_fitted), faulty(rng, faults_fitted)])
    rows = np.vstack([normal(rng, SCORED - faults), faulty(rng, faults)])
    return Trial(fitting, rows, np.arange(SCORED) >= SCORED - faults)


def _unmarked(trial: Callable[..., Trial]) -> Callable[[int], Trial]:
    return lambda seed: trial(seed, unmarked=OUTLIERS)


DATA_SETS: Final[dict[str, DataSet]] = {
    "shuttle_60_40": DataSet(shuttle_60_40, 10),
    "shuttle_stream": DataSet(shuttle_stream, 1),
    "breast_cancer": DataSet(breast_cancer, 60),
    "digits": DataSet(digits, 60),
    "wine": DataSet(wine, 60),
    "broken_correlations": DataSet(broken_correlations, 10, continuous=True),
    "single_feature_spikes": DataSet(single_feature_spikes, 10, continuous=True),
    "broken_correlations_unmarked": DataSet(_unmarked(broken_correlations), 10, continuous=True, counted=False),
    "single_feature_spikes_unmarked": DataSet(_unmarked(single_feature_spikes), 10, continuous=True, counted=False),
}
