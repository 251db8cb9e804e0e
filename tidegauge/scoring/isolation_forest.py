"""
Isolation forest: what random splits part from the reference after few of them is unlike it.

Liu, Ting and Zhou 2008, "Isolation Forest" (ICDM). scikit-learn grows the trees; they are kept as plain numbers and
walked in numpy, with scikit-learn's `score_samples` to 1e-9, its sign turned. Trees are grown and walked on deviations
(tidegauge.scoring.deviations): equality with scikit-learn is that of a forest that gets the same.

A row's score is 2 ** -(E / c), in (0, 1]: E the mean length of its paths, c the average path length of a tree's sample.
What a split takes off the path length that was expected before it is credited to its feature; a feature's contribution
is the sum of that along the row's paths, in splits, as a mean over trees and not below 0 (the idea of Saabas 2014,
"Interpreting random forests", for path lengths).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, Matrix
from tidegauge.packing import pack, unpack
from tidegauge.scoring.detector import Array, Missing, ReasonsOfRow, ReasonsOfRows
from tidegauge.scoring.deviations import Deviations
from tidegauge.scoring.isolation_trees import LEAF, IsolationTrees, Leaves, Nodes, Singles, average_path_length

TREES: Final = 100
ROWS_PER_TREE: Final = 256
SEED: Final = 20_080_101
"""Any; fixed, so that the same rows give the same forest."""


class IsolationForestDetector:
    """See tidegauge.scoring.detector. Contributions are in splits; constant features have no part in it."""

    name: Final = "isolation_forest"

    def __init__(self, schema: FeatureSchema, deviations: Deviations, nodes: Nodes) -> None:
        """Raises ValueError where the nodes are no trees of this schema's features."""
        if (nodes.features >= len(schema)).any():
            raise ValueError("a split is by a feature that the schema does not have")
        self._features, self._deviations, self._nodes = len(schema), deviations, nodes
        self._trees = IsolationTrees(nodes)
        self._usual = self._trees.trees * float(average_path_length(np.array(self._trees.rows_per_tree)))

    @classmethod
    def fit(cls, matrix: Matrix, schema: FeatureSchema) -> IsolationForestDetector:
        """Raises InvalidBaseline where scikit-learn is not installed."""
        deviations = Deviations.fit(matrix, schema)
        singles = within_range(deviations.of(matrix, np.isnan(matrix)))
        # Constants take no part in the draw of features: a forest is the same with them and without.
        varying = np.flatnonzero(deviations.scale > 0)
        return cls(schema, deviations, _nodes(singles, varying))

    def score_row(self, row: Array, missing: Missing) -> tuple[float, ReasonsOfRow]:
        singles = self._deviations.of(row[None, :], None if missing is None else missing[None, :])
        totals, leaves = self._trees.walk_few(singles)
        return self._score(float(totals[0])), lambda: self._contributions(leaves)[0]

    def scores(self, matrix: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        totals, leaves = self._trees.walk(self._deviations.of(matrix, missing))
        scores = np.array([self._score(total) for total in totals.tolist()])
        return scores, lambda rows: self._contributions(leaves[:, rows])

    def _score(self, total: float) -> float:
        """One by one in either case: numpy's powers of arrays may differ from those of numbers in the last bit."""
        # Trees of a single row have nothing to measure by: the middle, as scikit-learn has it.
        return 2.0 ** -(total / self._usual) if self._usual else 0.5

    def _contributions(self, leaves: Leaves) -> Array:
        return np.maximum(self._trees.credits(leaves, self._features) / self._trees.trees, 0.0)

    def to_document(self) -> dict[str, object]:
        return {
            "centre": self._deviations.centre.tolist(),
            "scale": self._deviations.scale.tolist(),
            "shares": {name: shares.tolist() for name, shares in self._deviations.shares.items()},
            "features": pack(self._nodes.features),
            "thresholds": pack(self._nodes.thresholds),
            "counts": pack(self._nodes.counts),
        }

    @classmethod
    def from_document(cls, document: Any, schema: FeatureSchema) -> IsolationForestDetector:
        """Raises InvalidBaseline."""
        try:
            centre, scale = (_finite(document[name], len(schema)) for name in ("centre", "scale"))
            shares = {
                feature.name: _finite(document["shares"][feature.name], len(feature.categories))
                for feature in schema.features
                if feature.kind == "categorical"
            }
            nodes = Nodes(
                features=unpack(document["features"], np.int32),
                thresholds=unpack(document["thresholds"], np.float32),
                counts=unpack(document["counts"], np.int32),
            )
            return cls(schema, Deviations(schema, centre=centre, scale=scale, shares=shares), nodes)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidBaseline(f"detectors.isolation_forest: {error!r}") from error


def within_range(singles: Singles) -> Singles:
    limit = np.finfo(np.float32).max
    return np.clip(singles, -limit, limit)


def rounded_down(thresholds: Array) -> Singles:
    """
    The largest float32 up to each: a float32 value is <= the one exactly when it is <= the other, so float32 thresholds
    part float32 values as scikit-learn's float64 ones do.
    """
    singles = thresholds.astype(np.float32)
    return np.where(singles > thresholds, np.nextafter(singles, np.float32(-np.inf)), singles)


def _nodes(singles: Singles, varying: NDArray[np.intp]) -> Nodes:
    """singles: (rows, features); varying: positions of the features that the forest is grown on."""
    # Of constants alone there is nothing to split, but scikit-learn asks for a column.
    grown_on = singles[:, varying] if len(varying) else np.zeros_like(singles[:, :1])
    forest = _grown(grown_on)
    trees = [estimator.tree_ for estimator in forest.estimators_]
    features, thresholds, counts = (
        np.concatenate([getattr(tree, name) for tree in trees]) for name in ("feature", "threshold", "n_node_samples")
    )
    split = features >= 0
    named = np.full(len(features), LEAF, dtype=np.int32)
    named[split] = varying[features[split]]
    return Nodes(named, rounded_down(thresholds[split]), counts[~split].astype(np.int32))


def _grown(rows: Singles) -> Any:
    try:
        from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - fitting needs it, scoring does not
    except ImportError as error:
        raise InvalidBaseline("fitting isolation_forest needs scikit-learn: pip install 'tidegauge[fit]'") from error
    forest = IsolationForest(n_estimators=TREES, max_samples=min(ROWS_PER_TREE, len(rows)), random_state=SEED)
    return forest.fit(rows)


def _finite(numbers: object, length: int) -> Array:
    array = unpack(numbers, np.float64)
    if array.shape != (length,) or not np.isfinite(array).all():
        raise ValueError(f"expected {length} finite numbers")
    return array
