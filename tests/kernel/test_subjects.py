"""Drift beside the features: of the model's answers, and of the outlier scores that see relations between features."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import tidegauge
from tests.support.examples import make_record, mixed_profile, mixed_rows, monitor_document, numeric_schema
from tests.support.schemas import validate
from tidegauge.baseline import BaselineProfile
from tidegauge.drift.results import Measured, NotMeasured
from tidegauge.errors import IncompatibleSummaries, InvalidBaseline
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.report import WindowReport
from tidegauge.scoring.scorer import Scorer
from tidegauge.subjects import SCORES, subjects_of
from tidegauge.summaries import container
from tidegauge.summaries.prediction_bins import PredictionBins
from tidegauge.summaries.window_summary import WindowSummary, summarise, summarise_matrix
from tidegauge.verdict import judge
from tidegauge.windows import Window

MONITOR = parse_monitor(monitor_document())
ROWS = 3000


def verdict(profile: BaselineProfile, summary: WindowSummary, monitor: ModelMonitor = MONITOR) -> WindowReport:
    report = judge(monitor=monitor, profile=profile, version="1", window=Window(0, 15_000), summary=summary)
    validate("window-report.v1", report.to_document())
    return report


def correlated(rows: int, *, seed: int, together: bool = True) -> Matrix:
    rng = np.random.default_rng(seed)
    first = rng.normal(size=rows)
    second = first + 0.3 * rng.normal(size=rows)
    return np.column_stack([first, second if together else rng.permutation(second), rng.normal(size=rows)])


def answering(predictions: Any, **options: Any) -> BaselineProfile:
    return BaselineProfile.fit(correlated(ROWS, seed=1), numeric_schema(3), predictions=predictions, **options)


def window(profile: BaselineProfile, predictions: Any, **values: Any) -> WindowSummary:
    return summarise_matrix(correlated(ROWS, seed=2), profile, predictions=predictions, **values)


def numbers(shift: float = 0.0, *, seed: int = 3) -> Matrix:
    return np.random.default_rng(seed).normal(shift, 1.0, ROWS)


def test_answers_that_moved_are_drift_though_no_feature_moved() -> None:
    profile = answering(numbers())
    usual = verdict(profile, window(profile, numbers(seed=4)))
    assert ([output.name for output in usual.predictions], usual.drifted, usual.verdict) == (
        ["prediction"],
        [],
        "no_drift",
    )
    moved = verdict(profile, window(profile, numbers(0.5, seed=4)))
    assert (moved.drifted, moved.drifted_features, moved.verdict) == (["prediction"], [], "drift")
    assert [(cause.feature, cause.kind) for cause in moved.causes] == [("prediction", "prediction")]
    assert moved.to_document()["predictions"][0]["tests"]["location"]["effect"] == pytest.approx(0.5, abs=0.1)


def test_labels_and_booleans_are_judged_as_what_the_baseline_knows_them_for() -> None:
    rng = np.random.default_rng(5)
    features = dict(zip(("f0", "f1", "f2"), correlated(ROWS, seed=1).T, strict=True))
    kinds: list[tuple[list[Any], list[Any], list[str]]] = [
        (["cat", "dog"], ["cat", "cow"], []),
        ([True, False], [True, True], []),
        ([0, 1], [0, 0], ["label"]),
    ]
    for before, after, categorical in kinds:
        answers = [before[at] for at in rng.integers(2, size=ROWS)]
        profile = BaselineProfile.fit({**features, "label": answers}, predictions="label", categorical=categorical)
        same = window(profile, [before[at] for at in rng.integers(2, size=ROWS)])
        assert verdict(profile, same).drifted == []
        changed = window(profile, [after[at] for at in rng.integers(2, size=ROWS)])
        assert verdict(profile, changed).drifted == ["prediction.label"]


def test_several_outputs_are_told_apart_by_name_or_by_position() -> None:
    both = np.column_stack([numbers(), numbers(seed=6)])
    profile = answering(both)
    after = np.column_stack([numbers(seed=7), numbers(1.0, seed=8)])
    rows = [{"prediction_0": first, "prediction_1": second} for first, second in after.tolist()]
    for predictions in (after, rows):
        assert verdict(profile, window(profile, predictions)).drifted == ["prediction.prediction_1"]


def test_answers_of_records_are_those_of_rows() -> None:
    profile, answers = answering(numbers()), numbers(0.5, seed=4)
    features = correlated(ROWS, seed=2)
    records = [
        make_record(seq=at + 1, features=[row], predictions=[answer], outlier=[False])
        for at, (row, answer) in enumerate(zip(features.tolist(), answers.tolist(), strict=True))
    ]
    of_records = summarise(records, [], profile).predictions
    of_rows = summarise_matrix(features, profile, predictions=answers).predictions
    assert of_records is not None
    assert of_rows is not None
    assert container.dump(of_records.to_state()) == container.dump(of_rows.to_state())


def test_a_feature_called_prediction_keeps_its_name() -> None:
    schema = FeatureSchema((FeatureSpec("prediction"), FeatureSpec(SCORES), FeatureSpec("f2")))
    profile = BaselineProfile.fit(correlated(ROWS, seed=1), schema, predictions=numbers())
    names = [subject.bins.name for subject in subjects_of(profile, window(profile, numbers()), ("tail", "mahalanobis"))]
    assert names == ["prediction", SCORES, "f2", "prediction'", f"{SCORES}'"]


def test_without_answers_in_the_baseline_or_the_window_nothing_is_said_of_them() -> None:
    assert verdict(mixed_profile(), summarise_matrix(mixed_rows(400, seed=2), mixed_profile())).predictions == ()
    profile = answering(numbers())
    (output,) = verdict(profile, window(profile, None)).predictions
    assert output.tests["jensen_shannon"] == NotMeasured("needs 100 rows, the window has 0")
    older = WindowSummary(**{**vars(window(profile, numbers())), "predictions": None})
    assert verdict(profile, older).predictions == ()


def test_a_report_says_why_no_prediction_was_judged() -> None:
    plain = verdict(mixed_profile(), summarise_matrix(mixed_rows(400, seed=2), mixed_profile()))
    assert plain.to_document()["predictions_not_measured"] == "the baseline has no predictions: fit it with them"
    assert "predictions not judged: the baseline has no predictions" in str(plain)
    assert "predictions not judged: the baseline has no predictions" in plain.to_html()
    profile = answering(numbers())
    older = verdict(profile, WindowSummary(**{**vars(window(profile, numbers())), "predictions": None}))
    assert "did not count predictions" in str(older)
    judged = verdict(profile, window(profile, numbers()))
    assert judged.to_document()["predictions_not_measured"] is None
    assert "not judged" not in str(judged) + judged.to_html()


CLASSES = np.random.default_rng(4).choice(["cat", "dog", "eel"], ROWS, p=[0.5, 0.3, 0.2])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (CLASSES, FeatureSpec("prediction", "categorical", ("cat", "dog", "eel"))),
        (CLASSES == "cat", FeatureSpec("prediction", "boolean")),
        (np.array([1.5, None, 2.0] * 1000, dtype=object), FeatureSpec("prediction")),
        (np.array(["yes", None, "no"] * 1000, dtype=object), FeatureSpec("prediction", "categorical", ("no", "yes"))),
    ],
    ids=["classes", "booleans", "numbers and none", "classes and none"],
)
def test_a_baseline_takes_predictions_of_any_kind_as_an_array(answers: Any, expected: FeatureSpec) -> None:
    profile = answering(answers, detectors=["tail"])
    assert profile.prediction_schema == FeatureSchema((expected,))
    assert profile.predictions[0].missing == sum(value is None for value in answers.tolist())
    assert BaselineProfile.load(profile.dump()).predictions[0].counts.tolist() == profile.predictions[0].counts.tolist()


def test_an_output_of_mixed_kinds_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidBaseline, match="prediction: expected only numbers, only texts"):
        answering(np.array(["cat", 1.0, True] * 1000, dtype=object), detectors=["tail"])


def test_a_frame_is_judged_with_its_predictions() -> None:
    profile = answering(CLASSES, detectors=["tail"])
    frame = correlated(ROWS, seed=2)
    usual = np.random.default_rng(5).choice(["cat", "dog", "eel"], ROWS, p=[0.5, 0.3, 0.2])
    unseen = [*usual.tolist()[:2500], *["yak"] * 500]
    assert tidegauge.judge(frame, profile, predictions=usual).drifted == []
    assert tidegauge.judge(frame, profile, predictions=unseen).drifted == ["prediction"]
    for wrong in (3, ROWS + 1):
        with pytest.raises(ValueError, match=f"{wrong} .*for {ROWS} rows"):
            tidegauge.judge(frame, profile, predictions=["cat"] * wrong)


def scored(profile: BaselineProfile, matrix: Matrix, rate: float = 0.01) -> WindowSummary:
    found = Scorer(profile, detectors=("tail", "mahalanobis"), false_alarm_rate=rate).score(matrix)
    return summarise_matrix(matrix, profile, p_values=found.p_values["combined"], outlier=found.outlier)  # type: ignore[arg-type]


def test_a_broken_correlation_is_drift_of_the_scores() -> None:
    profile = BaselineProfile.fit(correlated(ROWS, seed=1), numeric_schema(3))
    usual = verdict(profile, scored(profile, correlated(ROWS, seed=2)))
    assert (usual.drifted, usual.to_document()["joint"]["scores"]["drifted"]) == ([], False)
    broken = verdict(profile, scored(profile, correlated(ROWS, seed=2, together=False)))
    assert (broken.drifted, broken.drifted_features, broken.verdict) == ([SCORES], [], "drift")
    assert [cause.kind for cause in broken.causes] == ["scores", "correlation"]
    assert "as unusual as 0.1 % of the baseline's are" in broken.causes[0].sentence


def test_rows_more_usual_than_the_baselines_are_told_by_the_half() -> None:
    profile = BaselineProfile.fit(correlated(ROWS, seed=1), numeric_schema(3))
    summary = summarise_matrix(correlated(ROWS, seed=2), profile, p_values=np.linspace(0.4, 1, ROWS))  # type: ignore[arg-type]
    assert "as unusual as 50 % of the baseline's are" in verdict(profile, summary).causes[0].sentence


@pytest.mark.parametrize("rows", [300, 2000, 6000])
def test_scores_of_usual_traffic_do_not_drift_known_outliers_and_heavy_tails_included(rows: int) -> None:
    for seed in range(4):
        rng = np.random.default_rng([seed, rows])

        def draw(count: int, rng: np.random.Generator = rng) -> tuple[Matrix, Any]:
            matrix = rng.standard_t(3, size=(count, 4)) @ (np.eye(4) + 0.4)
            outlier = rng.random(count) < 0.07
            matrix[outlier] += 12.0
            return matrix, outlier

        matrix, outlier = draw(rows)
        profile = BaselineProfile.fit(matrix, numeric_schema(4), outlier=outlier, detectors=("tail", "mahalanobis"))
        for _ in range(3):
            report = verdict(profile, scored(profile, draw(ROWS)[0]))
            assert report.scores is not None
            assert report.scores.log_p_value > np.log(0.01)


def test_scores_that_the_baseline_has_no_calibration_for_are_not_judged() -> None:
    profile = BaselineProfile.fit(correlated(ROWS, seed=1), numeric_schema(3), detectors=("tail",))
    report = verdict(profile, scored_by_tail(profile))
    assert (report.scores, report.to_document()["joint"]["scores"]) == (None, None)
    alone = parse_monitor(monitor_document(outliers={"detectors": ["tail"]}))
    assert verdict(profile, scored_by_tail(profile), alone).scores is not None


def test_a_summary_from_before_scores_were_counted_has_none_to_judge() -> None:
    profile = answering(numbers())
    old = dataclasses.replace(window(profile, numbers()), p_values=None)
    assert verdict(profile, old).scores is None


def test_outputs_of_two_baselines_are_not_merged() -> None:
    one, other = PredictionBins(()), window(answering(numbers()), numbers()).predictions
    assert other is not None
    with pytest.raises(IncompatibleSummaries):
        one.merge(other)


def test_a_page_has_pictures_of_answers_and_scores_too() -> None:
    profile = answering(np.array(["a", "b", "a"] * (ROWS // 3)))
    page = verdict(profile, window(profile, np.array(["a", "b", "c"] * (ROWS // 3)))).to_html()
    assert "unseen: 0.0% in the baseline, 33.3% in the window" in page
    assert "p 0.5 to 1: 50.0% in the baseline" in page or "p 0.1 to 1: 90.0% in the baseline" in page


def scored_by_tail(profile: BaselineProfile) -> WindowSummary:
    matrix = correlated(ROWS, seed=2)
    found = Scorer(profile, detectors=("tail",), false_alarm_rate=0.01).score(matrix)
    return summarise_matrix(matrix, profile, p_values=found.p_values["combined"])  # type: ignore[arg-type]


def test_joint_tests_are_in_the_report_and_decide_nothing() -> None:
    profile = BaselineProfile.fit(correlated(ROWS, seed=1), numeric_schema(3))
    shift = 0.09 * np.array([1.0, -1.0, 0.0])  # against the correlation: small alone, large together
    report = verdict(profile, summarise_matrix(correlated(ROWS, seed=2) + shift, profile))
    found = report.joint["mean_shift"]
    assert isinstance(found, Measured)
    assert (found.p_value < 1e-6, found.threshold, found.drifted) == (True, None, False)
    assert report.drifted == []


def test_text_and_page_tell_what_tests_of_the_users_own_found() -> None:
    profile = answering(numbers())
    own = {"decide": ["tests.support.own:upper_tail"], "report": ["tests.support.own:largest_gap"]}
    monitor = parse_monitor(monitor_document(drift={"own": own}))
    moved = summarise_matrix(correlated(ROWS, seed=2) + np.array([1.0, 0.0, 0.0]), profile, predictions=numbers())
    report = verdict(profile, moved, monitor)
    for told in (str(report), report.to_html()):
        assert "f0: tests.support.own:upper_tail" in told
        assert ", drifted" in told
        assert "f1: tests.support.own:largest_gap" in told
