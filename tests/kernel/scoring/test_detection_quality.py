"""Outliers of known kinds rank above normal rows; `make bench-detection` measures the same at length, beside PyOD."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from tests.support.examples import numeric_schema
from tidegauge.features import Matrix
from tidegauge.scoring import DETECTORS
from tidegauge.scoring.detector import Array, scores_of
from tidegauge.scoring.fitted import FittedScoring

PAIR = {name: DETECTORS[name] for name in ("tail", "mahalanobis")}
FEATURES = 12
OUTLIERS = 60


def correlated(rng: np.random.Generator, rows: int) -> Matrix:
    hidden = np.random.default_rng(0).normal(size=(3, FEATURES))
    return rng.normal(size=(rows, 3)) @ hidden + 0.5 * rng.normal(size=(rows, FEATURES))


def broken_correlations(rng: np.random.Generator) -> Matrix:
    return rng.permuted(correlated(rng, OUTLIERS), axis=0)


def spikes(rng: np.random.Generator) -> Matrix:
    rows = correlated(rng, OUTLIERS)
    rows[np.arange(OUTLIERS), rng.integers(FEATURES, size=OUTLIERS)] += 12 * rng.choice([-1, 1], OUTLIERS)
    return rows


def far_everywhere(rng: np.random.Generator) -> Matrix:
    return 3 * correlated(rng, OUTLIERS)


def combined(fitting: Matrix, rows: Matrix) -> Array:
    scoring = FittedScoring.fit(fitting, numeric_schema(fitting.shape[1]), detectors=PAIR)
    surprises = [scoring.surprises[name](scores_of(scoring.detectors[name], rows)) for name in PAIR]
    return scoring.combination.of_rows(surprises)


@pytest.mark.parametrize("draw", [broken_correlations, spikes, far_everywhere], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_combined_score_ranks_planted_outliers_above_normal_rows(
    draw: Callable[[np.random.Generator], Matrix], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.vstack([correlated(rng, 1000), draw(rng)])
    scores = combined(correlated(rng, 2000), rows)
    assert roc_auc_score(np.arange(len(rows)) >= 1000, scores) >= 0.95


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_malignant_cells_rank_above_benign_ones_though_some_were_fitted_to(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = load_breast_cancer()
    malignant: NDArray[np.bool_] = data.target == 0
    kept = np.sort(np.concatenate([np.flatnonzero(~malignant), rng.permutation(np.flatnonzero(malignant))[:20]]))
    assert roc_auc_score(malignant[kept], combined(data.data[kept], data.data[kept])) >= 0.93
