"""
What scoring costs: one row, 8 and 1,000 together, beside the usual detectors on the same row.

`make bench-scoring` runs it; figures go to build/bench/scoring.json. Times are medians over single calls, in
microseconds, on one thread.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from benchmarks.figures import Figures, show, write
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.scoring.scorer import Scorer

FEATURES: Final = 30
FITTED_ROWS: Final = 20_000
SEED: Final = 7
PAIR: Final = ("tail", "mahalanobis")


def main() -> None:
    reference, fresh = _data()
    ours = _ours(reference, fresh)
    peers = dict(_peers(reference, fresh))
    figures: Figures = {"figures": ours, "peers_row_p50_us": peers, "features": FEATURES, "fitted_rows": FITTED_ROWS}
    own = {
        "tidegauge, tail and mahalanobis": ours["row_p50_us"],
        "tidegauge, isolation_forest too": ours["row_iforest_p50_us"],
    }
    show("One row, median", {**own, **peers}, unit="us")
    show("Rows together, per row", {key: value for key, value in ours.items() if not key.startswith("row")}, unit="us")
    write("scoring", figures)


def _data() -> tuple[Matrix, Matrix]:
    """Correlated normal features."""
    generator = np.random.default_rng(SEED)
    mixing = 0.3 * generator.normal(size=(FEATURES, FEATURES)) + np.eye(FEATURES)
    rows: Matrix = generator.normal(size=(FITTED_ROWS + 10_000, FEATURES)) @ mixing
    return rows[:FITTED_ROWS], rows[FITTED_ROWS:]


def _ours(reference: Matrix, fresh: Matrix) -> dict[str, float]:
    schema = FeatureSchema(tuple(FeatureSpec(f"f{position}") for position in range(FEATURES)))
    profile = BaselineProfile.fit(reference, schema)
    two, three = (Scorer(profile, detectors=names) for names in (PAIR, (*PAIR, "isolation_forest")))
    rows = fresh.tolist()
    return {
        "row_p50_us": _median_us(lambda i: two.score_row(rows[i % len(rows)]), calls=10_000),
        "row_iforest_p50_us": _median_us(lambda i: three.score_row(rows[i % len(rows)]), calls=10_000),
        "eight_row_us": _median_us(lambda i: two.score(_part(fresh, i, 8)), calls=5000) / 8,
        "batch_row_us": _median_us(lambda i: two.score(_part(fresh, i, 1000)), calls=200) / 1000,
        "batch_iforest_row_us": _median_us(lambda i: three.score(_part(fresh, i, 1000)), calls=50) / 1000,
    }


def _part(rows: Matrix, index: int, size: int) -> Matrix:
    start = index * size % (len(rows) - size)
    return rows[start : start + size]


def _peers(reference: Matrix, fresh: Matrix) -> Iterator[tuple[str, float]]:
    """Each at its defaults, asked for the score of one row at a time, as a server would."""
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS
    from river.anomaly import HalfSpaceTrees
    from sklearn.covariance import EllipticEnvelope
    from sklearn.ensemble import IsolationForest

    for name, model, calls in (
        ("PyOD ECOD", ECOD(), 100),
        ("PyOD HBOS", HBOS(), 500),
        ("scikit-learn IsolationForest", IsolationForest(random_state=SEED), 100),
        ("scikit-learn EllipticEnvelope", EllipticEnvelope(random_state=SEED), 500),
    ):
        model.fit(reference)
        yield name, _median_us(_scoring(model.decision_function, fresh), calls=calls)
    trees = HalfSpaceTrees(seed=SEED)
    names = [f"f{position}" for position in range(FEATURES)]
    rows = [dict(zip(names, row, strict=True)) for row in fresh[:2000].tolist()]
    for row in rows:
        trees.learn_one(row)
    yield "river HalfSpaceTrees", _median_us(lambda i: trees.score_one(rows[i % len(rows)]), calls=500)


def _scoring(decide: Callable[[Matrix], Any], fresh: Matrix) -> Callable[[int], Any]:
    return lambda i: decide(fresh[i : i + 1])


def _median_us(call: Callable[[int], Any], *, calls: int) -> float:
    times = []
    for index in range(calls):
        began = time.perf_counter_ns()
        call(index)
        times.append(time.perf_counter_ns() - began)
    return round(float(np.median(times)) / 1000, 2)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the peers' own
    main()
