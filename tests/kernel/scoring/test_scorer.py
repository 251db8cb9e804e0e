"""Rows into scores, p-values, verdicts and reasons."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.examples import mixed_profile, mixed_rows, numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.errors import BaselineMismatch
from tidegauge.scoring import DETECTORS
from tidegauge.scoring.scored import TOP_FEATURES
from tidegauge.scoring.scorer import Scorer

PROFILE = mixed_profile()


@pytest.mark.parametrize("detectors", [None, ["tail"], ["mahalanobis"], ["mahalanobis", "tail"]], ids=str)
def test_every_row_has_a_score_and_a_p_value_of_each_detector_and_a_verdict(detectors: list[str] | None) -> None:
    rows = mixed_rows(40, seed=2)
    scored = Scorer(PROFILE, detectors=detectors, false_alarm_rate=0.01).score(rows)
    assert set(scored.scores) == set(scored.p_values) == {*(detectors or DETECTORS), "combined"}
    for values in (*scored.scores.values(), *scored.p_values.values(), scored.outlier):
        assert values.shape == (40,)
    assert len(scored.top) == 40
    np.testing.assert_array_equal(scored.outlier, scored.p_values["combined"] <= 0.01)


@pytest.mark.parametrize("size", [2, 24, 25, 48, 49, 300])
def test_results_of_a_row_do_not_depend_on_the_rows_beside_it(size: int) -> None:
    scorer = Scorer(PROFILE, false_alarm_rate=0.01)
    rows = mixed_rows(size, seed=3)
    together = scorer.score(rows)
    for position in range(len(rows)):
        alone = scorer.score(rows[position : position + 1])
        for name, p_values in together.p_values.items():
            assert alone.p_values[name][0] == p_values[position]
            assert alone.scores[name][0] == together.scores[name][position]
        assert alone.top[0] == together.top[position]
        assert alone.outlier[0] == together.outlier[position]


def test_rows_as_requests_have_them_are_scored_as_the_matrix_they_stand_for() -> None:
    scorer = Scorer(PROFILE, false_alarm_rate=0.01)
    rows = [[170.0, "red", True], {"height": 300.0, "colour": "violet", "open": None}, "no row"]
    matrix = np.array([[170.0, 2.0, 1.0], [300.0, -1.0, np.nan], [np.nan] * 3])
    assert scorer.score(rows).p_values["combined"].tolist() == scorer.score(matrix).p_values["combined"].tolist()


def test_no_rows_are_no_results() -> None:
    scored = Scorer(PROFILE).score(np.empty((0, 3)))
    assert scored.top == []
    assert scored.outlier.tolist() == []
    assert all(len(p_values) == 0 for p_values in scored.p_values.values())


def test_the_top_features_are_those_that_drive_the_score() -> None:
    profile = BaselineProfile.fit(np.random.default_rng(1).normal(size=(1000, 6)), numeric_schema(6))
    row = np.zeros((1, 6))
    row[0, 4], row[0, 2] = 30.0, 15.0
    for detectors in (None, ["tail"], ["mahalanobis"]):
        top = Scorer(profile, detectors=detectors).score(row).top[0]
        assert len(top) == TOP_FEATURES
        assert {name for name, _ in top[:2]} == {"f4", "f2"}
        contributions = [contribution for _, contribution in top]
        assert contributions == sorted(contributions, reverse=True)


def test_with_fewer_features_than_that_all_are_named() -> None:
    profile = BaselineProfile.fit(np.random.default_rng(2).normal(size=(400, 1)), numeric_schema(1))
    assert Scorer(profile).score(np.array([[9.0]])).top[0][0][0] == "f0"


def test_a_fault_that_one_detector_sees_is_flagged() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(size=4000)
    profile = BaselineProfile.fit(np.column_stack([first, first + 0.1 * rng.normal(size=4000)]), numeric_schema(2))
    scored = Scorer(profile, false_alarm_rate=0.001).score(np.array([[1.0, -1.0]]))
    assert scored.p_values["tail"][0] > 0.1
    assert scored.p_values["mahalanobis"][0] <= 0.001
    assert scored.outlier.all()


def test_an_unseen_category_counts_towards_the_score() -> None:
    scored = Scorer(PROFILE, detectors=["tail"]).score(np.array([[170.0, -1.0, 0.0], [170.0, 0.0, 0.0]]))
    assert scored.scores["tail"][0] > scored.scores["tail"][1] + 5
    assert scored.top[0][0][0] == "colour"


def test_a_detector_that_the_profile_lacks_is_refused() -> None:
    with pytest.raises(BaselineMismatch, match="no detector forest; it has tail, mahalanobis"):
        Scorer(PROFILE, detectors=["tail", "forest"])


def test_a_rate_that_the_held_out_rows_cannot_carry_is_refused_with_the_number_of_rows_it_takes() -> None:
    with pytest.raises(
        BaselineMismatch, match=r"held-out rows are too few for a rate of 1e-05: .* at least 20000 rows"
    ):
        Scorer(PROFILE, false_alarm_rate=1e-5)


@pytest.mark.parametrize(("rate", "status"), [(0.01, "calibrated"), (0.005, "coarse"), (0.0005, "extrapolated")])
def test_the_status_says_how_well_the_rate_is_carried(rate: float, status: str) -> None:
    assert Scorer(PROFILE, false_alarm_rate=rate).status == status
