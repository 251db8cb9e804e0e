"""The baseline profile: the same data give the same bytes, and data that cannot make one are refused by column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.examples import SCHEMA, mixed_profile, mixed_rows, numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.gathering import LARGEST_VALUE, MINIMUM_ROWS
from tidegauge.scoring import DETECTORS
from tidegauge.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def profile() -> BaselineProfile:
    return mixed_profile()


def test_a_profile_survives_its_bytes(profile: BaselineProfile) -> None:
    loaded = BaselineProfile.load(profile.dump())
    assert loaded.dump() == profile.dump()
    assert loaded.content_id == profile.content_id
    assert loaded.schema == profile.schema
    fresh = mixed_rows(50, seed=9)
    before, after = Scorer(profile).score(fresh), Scorer(loaded).score(fresh)
    for name, scores in before.scores.items():
        np.testing.assert_array_equal(scores, after.scores[name])
    for name, p_values in before.p_values.items():
        np.testing.assert_array_equal(p_values, after.p_values[name])
    assert before.top == after.top


def test_the_same_data_give_the_same_content_id(profile: BaselineProfile) -> None:
    assert mixed_profile().content_id == profile.content_id
    assert len(profile.content_id) == 64
    in_another_memory_order = BaselineProfile.fit(np.asfortranarray(mixed_rows(1000)), SCHEMA)
    assert in_another_memory_order.content_id == profile.content_id


def test_other_data_give_another_content_id(profile: BaselineProfile) -> None:
    assert BaselineProfile.fit(mixed_rows(1000, seed=2), SCHEMA).content_id != profile.content_id


def test_fitting_leaves_the_data_as_they_were() -> None:
    rows = mixed_rows(300)
    before = rows.copy()
    BaselineProfile.fit(rows, SCHEMA)
    np.testing.assert_array_equal(rows, before)


def test_the_references_are_of_all_rows_in_schema_order(profile: BaselineProfile) -> None:
    rows = mixed_rows(1000)
    height, colour, door = profile.references
    present = rows[~np.isnan(rows[:, 0]), 0]
    assert (height.rows, height.missing) == (1000, 1000 - len(present))
    assert height.mean == pytest.approx(present.mean())
    assert height.sd == pytest.approx(present.std())
    assert (height.low, height.high) == (present.min(), present.max())
    assert (colour.mean, colour.sd, colour.low, colour.high) == (None, None, None, None)
    assert colour.counts[1:4].tolist() == np.bincount(rows[:, 1].astype(int)).tolist()
    assert (door.low, door.high) == (0.0, 1.0)
    assert [reference.counts.sum() for reference in profile.references] == [1000, 1000, 1000]


def test_known_outliers_are_in_the_drift_reference_and_not_in_the_scoring_reference() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(2000, 2))
    outlier = np.zeros(2000, dtype=bool)
    outlier[::20] = True
    rows[outlier] += 30.0
    marked = BaselineProfile.fit(rows, numeric_schema(2), outlier=outlier)
    assert (marked.rows, marked.outliers) == (2000, 100)
    assert all(reference.rows == 2000 for reference in marked.references)
    assert all(reference.high is not None and reference.high > 25 for reference in marked.references)
    assert marked.scoring.held_out_of(tuple(DETECTORS)).n == 1900
    clean = BaselineProfile.fit(rows[~outlier], numeric_schema(2))
    fresh = rng.normal(size=(100, 2))
    for name, scores in Scorer(marked).score(fresh).scores.items():
        np.testing.assert_array_equal(scores, Scorer(clean).score(fresh).scores[name])


def test_every_detector_and_their_combination_are_calibrated_on_rows_they_were_not_fitted_on() -> None:
    fitted = BaselineProfile.fit(np.random.default_rng(4).normal(size=(1000, 2)), numeric_schema(2))
    assert set(fitted.scoring.detectors) == set(fitted.scoring.surprises) == set(DETECTORS)
    assert set(fitted.scoring.held_out) >= {*DETECTORS, "+".join(DETECTORS)}
    assert all(held_out.n == 1000 for held_out in fitted.scoring.held_out.values())


def test_a_file_in_periodic_order_is_halved_evenly() -> None:
    """Every second row is of another kind: plain alternation would fit on one and calibrate on the other."""
    rows = np.random.default_rng(5).normal(size=(4000, 1))
    rows[::2] += 100.0
    fitted = BaselineProfile.fit(rows, numeric_schema(1))
    rates = [Scorer(fitted, false_alarm_rate=0.01).score(rows[start::2]).outlier.mean() for start in (0, 1)]
    assert all(rate < 0.03 for rate in rates)


@pytest.mark.parametrize("constant", [0.0, 5.0, 1e9])
def test_a_constant_column_beside_others_is_accepted(constant: float) -> None:
    rows = np.random.default_rng(6).normal(size=(400, 2))
    rows[:, 1] = constant
    fitted = BaselineProfile.fit(rows, numeric_schema(2))
    assert fitted.references[1].sd == 0.0
    assert fitted.references[1].counts.tolist() == [0, 400, 0, 0]


def test_two_hundred_rows_are_enough_for_one_in_a_thousand() -> None:
    fitted = BaselineProfile.fit(np.random.default_rng(7).normal(size=(MINIMUM_ROWS, 3)), numeric_schema(3))
    scorer = Scorer(fitted, false_alarm_rate=0.001)
    assert scorer.status == "extrapolated"
    assert scorer.score(np.full((1, 3), 100.0)).outlier.all()


def normal(rows: int = 400) -> Any:
    return np.random.default_rng(8).normal(size=(rows, 2))


def with_value(value: float) -> Any:
    rows = normal()
    rows[7, 1] = value
    return rows


def with_column(value: float) -> Any:
    rows = normal()
    rows[:, 1] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(normal()[:, :1], r"data of shape \(400, 1\) for 2 features", id="too-narrow"),
        pytest.param(np.zeros(5), r"data of shape \(5,\) for 2 features", id="no-matrix"),
        pytest.param(np.empty((0, 2)), "0 rows that are no known outliers: at least 200", id="no-rows"),
        pytest.param(normal(199), "199 rows that are no known outliers: at least 200", id="too-few-rows"),
        pytest.param(with_value(np.inf), "infinite values, or beyond 1e.100, in: f1", id="infinity"),
        pytest.param(with_value(-2 * LARGEST_VALUE), "infinite values, or beyond 1e.100, in: f1", id="sentinel"),
        pytest.param(with_column(np.nan), "no value at all in: f1", id="empty-column"),
        pytest.param(np.ones((400, 2)), "every column is constant", id="all-constant"),
    ],
)
def test_data_that_cannot_make_a_baseline_are_refused(rows: Any, message: str) -> None:
    with pytest.raises(InvalidBaseline, match=message):
        BaselineProfile.fit(rows, numeric_schema(2))


def test_rows_that_are_nearly_all_outliers_are_too_few() -> None:
    with pytest.raises(InvalidBaseline, match="100 rows that are no known outliers"):
        BaselineProfile.fit(normal(), numeric_schema(2), outlier=np.arange(400) >= 100)


def test_outlier_marks_of_another_length_are_refused() -> None:
    with pytest.raises(InvalidBaseline, match="399 outlier marks for 400 rows"):
        BaselineProfile.fit(normal(), numeric_schema(2), outlier=np.zeros(399, dtype=bool))


def test_a_feature_that_only_outliers_have_can_be_fitted() -> None:
    rows = normal()
    rows[20:, 1] = np.nan
    fitted = BaselineProfile.fit(rows, numeric_schema(2), outlier=np.arange(400) < 20)
    assert fitted.references[1].missing == 380
    assert np.isfinite(Scorer(fitted, false_alarm_rate=0.01).score(normal(5)).scores["tail"]).all()


@pytest.mark.parametrize("extreme", [LARGEST_VALUE, -LARGEST_VALUE, 1e-300])
def test_values_at_the_limit_can_be_fitted(extreme: float) -> None:
    fitted = BaselineProfile.fit(with_value(extreme), numeric_schema(2))
    assert BaselineProfile.load(fitted.dump()).content_id == fitted.content_id


def test_two_hundred_features_make_a_profile_of_bounded_size() -> None:
    rows = np.random.default_rng(9).normal(size=(2000, 200))
    assert len(BaselineProfile.fit(rows, numeric_schema(200)).dump()) < 2**20


def damaged(change: Any) -> bytes:
    document = json.loads(mixed_profile().dump())
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b"\x80\x04K\x05.", "not JSON", id="pickle"),
        pytest.param(b"[]", "not a baseline profile of version 1 or 2", id="list"),
        pytest.param(b"{}", "not a baseline profile of version 1 or 2", id="no-version"),
        pytest.param(b'{"v": 2}', "damaged profile: KeyError", id="nothing-in-it"),
    ],
)
def test_bytes_that_are_no_profile_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidBaseline, match=message):
        BaselineProfile.load(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda d: d["schema"].pop(), "3 references for 2 features", id="a-feature-less"),
        pytest.param(lambda d: d.update(predictions=[{}]), "1 references for 0 features", id="a-prediction-more"),
        pytest.param(lambda d: d["features"].pop(), "2 references for 3 features", id="a-reference-less"),
        pytest.param(lambda d: d["features"][0].update(counts=[1000]), "bins do not add up", id="a-bin-less"),
        pytest.param(lambda d: d["features"][0].update(rows=999), "bins do not add up", id="a-bin-emptied"),
        pytest.param(lambda d: d["detectors"].update(forest={}), "not every one of", id="unknown-detector"),
        pytest.param(lambda d: d["surprises"].pop("tail"), "not every one of", id="no-surprise"),
        pytest.param(lambda d: d["held_out"].pop("+".join(DETECTORS)), "not every one of", id="no-combination"),
        pytest.param(lambda d: d["held_out"]["tail"].pop("n"), "calibration: KeyError", id="no-n"),
        pytest.param(lambda d: d["held_out"]["tail"].update(values=[]), "calibration", id="no-held-out-scores"),
        pytest.param(
            lambda d: d.update(combination="product"), "this version has fourth_power_norm", id="other-combination"
        ),
        pytest.param(lambda d: d["surprises"]["tail"].pop("scores"), "calibration: KeyError", id="no-scores"),
        pytest.param(
            lambda d: d["surprises"]["tail"].update(scores=[1.0, 2.0]), "calibration", id="scores-without-surprise"
        ),
        pytest.param(lambda d: d["surprises"].update(tail={"scores": [], "surprise": []}), "calibration", id="no-map"),
        pytest.param(lambda d: d["surprises"]["tail"].update(tail={"weight": 1}), "calibration", id="another-tail"),
        pytest.param(lambda d: d["detectors"]["tail"]["sizes"].pop(), "detectors.tail", id="tail-too-narrow"),
        pytest.param(lambda d: d["detectors"]["tail"].update(below=[1, 2]), "detectors.tail", id="tail-a-knot-less"),
        pytest.param(lambda d: d["detectors"]["mahalanobis"].pop("mean"), "detectors.mahalanobis", id="no-mean"),
        pytest.param(lambda d: d["detectors"]["mahalanobis"]["mean"].pop(), "do not fit the schema", id="mean-short"),
        pytest.param(
            lambda d: d["detectors"]["mahalanobis"].update(covariance=[1.0, 0.5]), "could not", id="covariance-short"
        ),
        pytest.param(lambda d: d.update(rows="many"), "damaged profile: ValueError", id="rows-as-text"),
        pytest.param(lambda d: d.update(detectors={}), "no detectors", id="no-detectors"),
        pytest.param(lambda d: d.update(surprises=5), "damaged profile: TypeError", id="surprises-as-number"),
        pytest.param(lambda d: d.update(surprises=list(d["surprises"])), "AttributeError", id="surprises-as-list"),
        pytest.param(lambda d: d["schema"][0].update(kind="vector"), r"schema\[0\]", id="unknown-kind"),
    ],
)
def test_a_damaged_profile_is_refused(change: Any, message: str) -> None:
    with pytest.raises(InvalidBaseline, match=message):
        BaselineProfile.load(damaged(change))


def test_a_profile_may_have_fewer_detectors_than_there_are(profile: BaselineProfile) -> None:
    document = json.loads(profile.dump())
    for part in ("detectors", "surprises", "held_out"):
        document[part] = {"tail": document[part]["tail"]}
    loaded = BaselineProfile.load(json.dumps(document).encode())
    assert set(Scorer(loaded).score(mixed_rows(3)).scores) == {"tail", "combined"}


def test_a_profile_of_version_1_is_read_and_combines_its_detectors_as_it_was_calibrated() -> None:
    profile = BaselineProfile.load(Path("tests/data/baselines/baseline-v1.json").read_bytes())
    scored = Scorer(profile, false_alarm_rate=0.01).score(mixed_rows(500, seed=9))
    surprises = [profile.scoring.surprises[name](scored.scores[name]) for name in ("tail", "mahalanobis")]
    np.testing.assert_array_equal(scored.scores["combined"], np.max(surprises, axis=0))
    assert BaselineProfile.load(profile.dump()).content_id == profile.content_id


@pytest.mark.parametrize("change", [{"largest": []}, {"knots": [0.1]}])
def test_a_damaged_profile_of_version_1_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(Path("tests/data/baselines/baseline-v1.json").read_bytes())
    document["held_out"]["tail"].update(change)
    with pytest.raises(InvalidBaseline, match="calibration"):
        BaselineProfile.load(json.dumps(document).encode())


def test_kinds_other_than_numbers_alone_can_make_a_profile() -> None:
    schema = FeatureSchema((FeatureSpec("c", "categorical", ("a", "b")), FeatureSpec("d", "categorical", ("a", "b"))))
    rows = np.random.default_rng(10).integers(0, 2, (400, 2)).astype(float)
    scored = Scorer(BaselineProfile.fit(rows, schema), false_alarm_rate=0.01).score(rows)
    assert not scored.scores["mahalanobis"].any()
