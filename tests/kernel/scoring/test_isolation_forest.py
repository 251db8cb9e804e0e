from __future__ import annotations

import functools
import json
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from tests.support.examples import SCHEMA, mixed_rows, numeric_schema
from tidegauge.errors import InvalidBaseline
from tidegauge.features import UNSEEN, Matrix
from tidegauge.packing import unpack
from tidegauge.scoring.detector import score_rows, scores_of
from tidegauge.scoring.deviations import Deviations
from tidegauge.scoring.isolation_forest import ROWS_PER_TREE, SEED, TREES, IsolationForestDetector, rounded_down
from tidegauge.scoring.isolation_trees import average_path_length

RNG = np.random.default_rng(7)

DATA = {
    "continuous": RNG.normal(size=(700, 6)) @ (np.eye(6) + 0.5 * RNG.normal(size=(6, 6))),
    "heavy tails": RNG.standard_t(1.5, size=(700, 4)),
    "integers": RNG.poisson(3.0, size=(700, 4)).astype(float),
    "ties": RNG.choice([0.1, 0.2, 0.3, 1e6], size=(700, 3)),
    "far from 0": RNG.normal(1e9, 1.0, size=(700, 3)),
    "few rows": RNG.normal(size=(40, 3)),
    "with gaps": np.where(RNG.random((300, 4)) < 0.3, np.nan, RNG.normal(size=(300, 4))),
}


def fitted(matrix: Matrix) -> IsolationForestDetector:
    return IsolationForestDetector.fit(matrix, numeric_schema(matrix.shape[1]))


def as_scikit_learn_gets_it(reference: Matrix, rows: Matrix) -> NDArray[np.float32]:
    return Deviations.fit(reference, numeric_schema(reference.shape[1])).of(rows, np.isnan(rows))


def scikit_learns_forest(reference: Matrix) -> Any:
    forest = IsolationForest(n_estimators=TREES, max_samples=min(ROWS_PER_TREE, len(reference)), random_state=SEED)
    return forest.fit(as_scikit_learn_gets_it(reference, reference))


def on_thresholds(forest: Any, rows: int) -> NDArray[np.float32]:
    """Every value one of the forest's thresholds for its feature, or the float32 next to it."""
    rng = np.random.default_rng(3)
    columns = []
    for feature in range(forest.n_features_in_):
        thresholds = np.concatenate([e.tree_.threshold[e.tree_.feature == feature] for e in forest.estimators_])
        values = rng.choice(thresholds, rows).astype(np.float32)
        columns.append(np.nextafter(values, values + rng.choice([-1, 0, 1], rows).astype(np.float32)))
    return np.column_stack(columns)


@pytest.mark.parametrize("name", DATA)
def test_scores_are_those_of_scikit_learn(name: str) -> None:
    reference = DATA[name]
    detector, forest = fitted(reference), scikit_learns_forest(reference)
    rows = np.vstack([reference, reference[:50] * 3.0])
    expected = -forest.score_samples(as_scikit_learn_gets_it(reference, rows))
    np.testing.assert_allclose(scores_of(detector, rows), expected, rtol=0, atol=1e-9)
    for few in (1, 5):
        np.testing.assert_allclose(scores_of(detector, rows[:few]), expected[:few], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["continuous", "integers"])
def test_rows_on_the_thresholds_themselves_go_where_scikit_learn_sends_them(name: str) -> None:
    reference = DATA[name]
    detector, forest = fitted(reference), scikit_learns_forest(reference)
    rows = on_thresholds(forest, 500)
    totals, _ = detector._trees.walk(rows)
    scores = 2.0 ** -(totals / (TREES * average_path_length(np.array(ROWS_PER_TREE))))
    np.testing.assert_allclose(scores, -forest.score_samples(rows), rtol=0, atol=1e-9)


@given(threshold=st.floats(-1e38, 1e38), value=st.floats(width=32, allow_nan=False))
def test_a_threshold_rounded_down_parts_float32_values_alike(threshold: float, value: float) -> None:
    (rounded,) = rounded_down(np.array([threshold]))
    for near in (value, float(rounded), float(np.nextafter(rounded, np.float32(np.inf)))):
        assert (near <= threshold) == (near <= float(rounded))


def test_contributions_are_what_the_splits_of_a_feature_save() -> None:
    reference = DATA["integers"]
    forest = scikit_learns_forest(reference)
    rows = as_scikit_learn_gets_it(reference, reference[:20])
    expected = sum(saved_along_the_paths(estimator.tree_, rows) for estimator in forest.estimators_) / TREES
    _, contributions = score_rows(fitted(reference), reference[:20])
    np.testing.assert_allclose(contributions, np.maximum(expected, 0.0), atol=1e-8)
    assert (expected < -0.01).any()


def saved_along_the_paths(tree: Any, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Node by node, as the definition says."""

    @functools.cache
    def expected(node: int, depth: int) -> float:
        if tree.feature[node] < 0:
            return depth + float(average_path_length(tree.n_node_samples[node]))
        below = (tree.children_left[node], tree.children_right[node])
        weighted = sum(float(tree.n_node_samples[child]) * expected(child, depth + 1) for child in below)
        return weighted / float(tree.n_node_samples[node])

    saved = np.zeros(rows.shape)
    for row, saved_of_row in zip(rows, saved, strict=True):
        node, depth = 0, 0
        while (feature := tree.feature[node]) >= 0:
            child = (tree.children_left if row[feature] <= tree.threshold[node] else tree.children_right)[node]
            saved_of_row[feature] += expected(node, depth) - expected(child, depth + 1)
            node, depth = child, depth + 1
    return saved


def test_the_feature_that_is_out_of_place_contributes_most() -> None:
    rows = DATA["continuous"][:200].copy()
    spread = DATA["continuous"].std(axis=0)
    for position in range(200):
        rows[position, position % 6] += 8 * spread[position % 6]
    _, contributions = score_rows(fitted(DATA["continuous"]), rows)
    assert (contributions.argmax(axis=1) == np.arange(200) % 6).mean() > 0.95


def test_scores_lie_between_0_and_1_and_outliers_have_the_largest() -> None:
    reference = DATA["continuous"]
    scores = scores_of(fitted(reference), np.vstack([reference, np.full((1, 6), 1e300), np.full((1, 6), -1e9)]))
    assert ((scores > 0) & (scores <= 1)).all()
    assert scores[-2:].min() > np.quantile(scores, 0.99)


def test_a_missing_value_counts_as_the_median() -> None:
    reference = DATA["continuous"][:501]  # odd: the median is a value
    rows, filled = reference[:40].copy(), reference[:40].copy()
    rows[:, 2], filled[:, 2] = np.nan, np.median(reference[:, 2])
    detector = fitted(reference)
    np.testing.assert_array_equal(scores_of(detector, rows), scores_of(detector, filled))
    np.testing.assert_array_equal(scores_of(detector, rows[:1]), scores_of(detector, filled[:1]))


def test_rarer_categories_score_more_and_unseen_ones_no_less() -> None:
    detector = IsolationForestDetector.fit(mixed_rows(2000), SCHEMA)
    rows = np.array([[170.0, colour, 0.0] for colour in (0.0, 1.0, 2.0, UNSEEN)])
    common, usual, rare, unseen = scores_of(detector, rows)
    assert common < usual < rare <= unseen


@pytest.mark.parametrize("unit", [1e-12, 3.7, 1e50])
def test_units_change_nothing(unit: float) -> None:
    reference = DATA["continuous"]
    scores = scores_of(fitted(reference), reference)
    np.testing.assert_allclose(scores_of(fitted(reference * unit), reference * unit), scores, rtol=1e-9)


def test_constant_and_empty_columns_change_nothing() -> None:
    reference = DATA["continuous"]
    wider = np.insert(np.insert(reference, 2, 5.0, axis=1), 0, np.nan, axis=1)
    scores, contributions = score_rows(fitted(wider), wider)
    np.testing.assert_array_equal(scores, scores_of(fitted(reference), reference))
    assert not contributions[:, [0, 3]].any()


SMALL = {
    "one row": np.array([[1.0, 2.0]]),
    "two rows": np.array([[1.0, 2.0], [2.0, 2.0]]),
    "three rows": np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 0.0]]),
    "all rows equal": np.full((300, 2), 4.0),
    "nothing but gaps": np.full((30, 2), np.nan),
    "the largest numbers": np.array([[1e308, -1e308], [-1e308, 1e308], [0.0, 1.0], [5.0, 5.0]] * 5),
}


@pytest.mark.parametrize("reference", SMALL.values(), ids=SMALL)
def test_any_reference_can_be_fitted(reference: Matrix) -> None:
    rows = np.vstack([reference, [[0.0, 1e308]], [[np.nan, np.nan]], [[-1e308, -3.0]]])
    scores, contributions = score_rows(fitted(reference), rows)
    assert ((scores > 0) & (scores <= 1)).all()
    assert np.isfinite(contributions).all()


def test_trees_of_one_row_say_of_everything_what_scikit_learn_does() -> None:
    assert scores_of(fitted(SMALL["one row"]), np.array([[9.0, 9.0]])).tolist() == [0.5]


def test_a_single_feature_is_enough() -> None:
    reference = DATA["continuous"][:, :1]
    usual, far = scores_of(fitted(reference), np.array([[0.0], [1e9]]))
    assert far > usual


def test_the_same_rows_give_the_same_document() -> None:
    texts = {json.dumps(fitted(DATA["continuous"]).to_document()) for _ in range(2)}
    assert len(texts) == 1


def test_a_document_stays_small() -> None:
    rows = np.random.default_rng(5).normal(size=(5000, 30))
    assert len(json.dumps(fitted(rows).to_document())) < 100_000


def test_lists_do_in_a_document_as_well_as_packed_numbers() -> None:
    rows = mixed_rows(300)
    detector = IsolationForestDetector.fit(rows, SCHEMA)
    document = detector.to_document()
    for name, dtype in (("features", np.int32), ("thresholds", np.float32), ("counts", np.int32)):
        document[name] = unpack(document[name], dtype).tolist()
    again = IsolationForestDetector.from_document(document, SCHEMA)
    np.testing.assert_array_equal(scores_of(again, rows), scores_of(detector, rows))


DAMAGES: dict[str, dict[str, object]] = {
    "a feature that the schema lacks": {"features": [3, -1, -1], "thresholds": [0.5], "counts": [1, 1]},
    "no trees": {"features": [], "thresholds": [], "counts": []},
    "no text": {"features": 5},
    "too few centres": {"centre": [1.0]},
    "a scale without end": {"scale": [1.0, float("inf"), 1.0]},
    "no shares": {"shares": {}},
    "shares of other categories": {"shares": {"colour": [0.5, 0.5]}},
    "shares that are none": {"shares": None},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_document_is_refused(damage: dict[str, object]) -> None:
    document = IsolationForestDetector.fit(mixed_rows(50), SCHEMA).to_document()
    with pytest.raises(InvalidBaseline, match=r"detectors\.isolation_forest"):
        IsolationForestDetector.from_document(document | damage, SCHEMA)


def test_without_scikit_learn_fitting_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(InvalidBaseline, match=r"tidegauge\[fit\]"):
        fitted(DATA["few rows"])
