"""The usual detectors on a trial, and of each detector of ours the same method by another hand, fitted alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from unittest import mock

import numpy as np

from benchmarks.detection_data import Flags, Trial
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.scoring.detector import Array, Detector, DetectorKind, scores_of
from tidegauge.scoring.mahalanobis import STEPS, TRIMMED_SHARE


def schema_of(matrix: Matrix) -> FeatureSchema:
    return FeatureSchema(tuple(FeatureSpec(f"f{position}") for position in range(matrix.shape[1])))


def peers(trial: Trial, seed: int) -> dict[str, Array]:
    """PyOD's detectors at their defaults, on standardised rows as in PyOD's benchmark."""
    from pyod.models.copod import COPOD
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS
    from pyod.models.iforest import IForest
    from pyod.models.mcd import MCD
    from pyod.models.pca import PCA
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(trial.fitting)
    fitting, rows = scaler.transform(trial.fitting), scaler.transform(trial.rows)
    models = {
        "ECOD": ECOD(),
        "COPOD": COPOD(),
        "HBOS": HBOS(),
        "IForest": IForest(random_state=seed),
        "MCD": MCD(random_state=seed),
        "PCA": PCA(random_state=seed),
    }
    # PCA divides by the variance of directions that have none: infinite scores, which rank as the largest.
    return {name: np.nan_to_num(model.fit(fitting).decision_function(rows)) for name, model in models.items()}


@dataclass(frozen=True)
class Alike:
    """Scores of the same rows by a detector of ours and by its counterpart, fitted to the same rows."""

    ours: Array
    theirs: Array
    outlier: Flags


def alike(name: str, kind: DetectorKind, trial: Trial) -> Alike | None:
    """None where one of our detectors has no counterpart."""
    compare = COUNTERPARTS.get(name)
    return compare(kind, trial) if compare else None


def _tail(kind: DetectorKind, trial: Trial) -> Alike:
    """
    PyOD's COPOD adds the rows that it scores to its reference, where outliers hide or show each other: it gets one row
    at a time, as ours sees it, and the sides of the skew from the fitted rows, since one more row turns the sign of a
    skew that is next to none. That is slow, so of a large trial a sample.
    """
    from pyod.models import copod
    from scipy.stats import skew

    rng = np.random.default_rng(0)
    outliers, normal = (rng.permutation(np.flatnonzero(flags)) for flags in (trial.outlier, ~trial.outlier))
    chosen = np.concatenate([outliers[:60], normal[:140]])
    rows = trial.rows[chosen]
    model = copod.COPOD().fit(trial.fitting)
    sides = np.nan_to_num(skew(trial.fitting, axis=0))
    with mock.patch.object(copod, "skew", lambda *_args, **_options: sides):
        theirs = np.array([model.decision_function(rows[i : i + 1])[0] for i in range(len(rows))])
    return Alike(scores_of(_fitted(kind, trial), rows), theirs, trial.outlier[chosen])


def _fitted(kind: DetectorKind, trial: Trial) -> Detector:
    return kind.fit(trial.fitting, schema_of(trial.fitting))


def _mahalanobis(kind: DetectorKind, trial: Trial) -> Alike:
    """scikit-learn's Ledoit-Wolf covariance after as many concentration steps."""
    kept = round(len(trial.fitting) * (1 - TRIMMED_SHARE))
    distances = _ledoit_wolf(trial.fitting)
    for _ in range(STEPS):
        nearest = np.argsort(distances(trial.fitting), kind="stable")[:kept]
        distances = _ledoit_wolf(trial.fitting[np.sort(nearest)])
    return Alike(scores_of(_fitted(kind, trial), trial.rows), distances(trial.rows), trial.outlier)


def _ledoit_wolf(fitting: Matrix) -> Callable[[Matrix], Array]:
    from sklearn.covariance import LedoitWolf
    from sklearn.preprocessing import StandardScaler

    varying = fitting.std(axis=0) > 1e-12 * np.abs(fitting.mean(axis=0))
    scaler = StandardScaler().fit(fitting[:, varying])
    model = LedoitWolf().fit(scaler.transform(fitting[:, varying]))
    return lambda rows: np.asarray(model.mahalanobis(scaler.transform(rows[:, varying])))


def _isolation_forest(kind: DetectorKind, trial: Trial) -> Alike:
    from sklearn.ensemble import IsolationForest

    from tidegauge.scoring.isolation_forest import ROWS_PER_TREE, SEED, TREES

    varying = trial.fitting.min(axis=0) < trial.fitting.max(axis=0)
    model = IsolationForest(n_estimators=TREES, max_samples=min(ROWS_PER_TREE, len(trial.fitting)), random_state=SEED)
    model.fit(trial.fitting[:, varying])
    theirs = -model.score_samples(trial.rows[:, varying])
    return Alike(scores_of(_fitted(kind, trial), trial.rows), theirs, trial.outlier)


COUNTERPARTS: Final[dict[str, Callable[[DetectorKind, Trial], Alike]]] = {
    "tail": _tail,
    "mahalanobis": _mahalanobis,
    "isolation_forest": _isolation_forest,
}
