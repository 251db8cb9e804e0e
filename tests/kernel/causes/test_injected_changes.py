"""A cause names the change that was injected."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter

import numpy as np
import pytest

from tests.support.examples import monitor_document
from tidegauge.baseline import BaselineProfile
from tidegauge.causes import causes_of
from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.monitor import parse_monitor
from tidegauge.report import WindowReport
from tidegauge.scenarios import (
    BrokenCorrelation,
    Constant,
    Injection,
    Missing,
    NewCategory,
    Outside,
    Scenario,
    Shift,
    Spread,
    Unit,
)
from tidegauge.subjects import SubjectKind
from tidegauge.summaries.window_summary import summarise_matrix
from tidegauge.verdict import judge
from tidegauge.windows import Window

RNG = np.random.default_rng(7)
MONITOR = parse_monitor(monitor_document())
SCHEMA = FeatureSchema(
    (
        FeatureSpec("normal"),
        FeatureSpec("skewed"),
        FeatureSpec("heavy"),
        FeatureSpec("twin"),
        FeatureSpec("count"),
        FeatureSpec("colour", "categorical", ("blue", "green", "red")),
        FeatureSpec("door", "boolean"),
        FeatureSpec("still"),
    )
)


def rows(count: int, seed: int) -> Matrix:
    rng = np.random.default_rng(seed)
    normal = rng.normal(50.0, 10.0, count)
    columns = [
        normal,
        rng.lognormal(2.0, 0.7, count),
        rng.standard_t(3, count) * 2 + 20,
        normal + rng.normal(0.0, 4.0, count),
        rng.poisson(4.0, count),
        rng.choice(3, count, p=[0.6, 0.3, 0.1]),
        rng.random(count) < 0.2,
        np.full(count, 7.0),
    ]
    return np.column_stack(columns).astype(np.float64)


@functools.cache
def profile() -> BaselineProfile:
    return BaselineProfile.fit(rows(4000, 1), SCHEMA)


def verdict(matrix: Matrix) -> WindowReport:
    summary = summarise_matrix(matrix, profile())
    return judge(monitor=MONITOR, profile=profile(), version="1", window=Window(0, 15_000), summary=summary)


def injected(feature: str) -> list[tuple[str, Injection]]:
    reference = profile().references[SCHEMA.index[feature]]
    mean, sd = float(reference.mean or 0), float(reference.sd or 0)
    return [
        *(("unit", Unit(feature, factor)) for factor in (60.0, 1000.0, 2.54, 0.1, 37.0)),
        ("unit", Unit(feature, 1.8, 32.0)),
        *(("shift", Shift(feature, size, sd)) for size in (0.7, 1.5, -0.7)),
        *(("spread", Spread(feature, factor, mean)) for factor in (0.5, 2.0, 4.0)),
        ("constant", Constant(feature, mean)),
        ("missing", Missing(feature, 0.1, RNG)),
        ("out_of_range", Outside(feature, 0.1, -999.0, RNG)),
        ("out_of_range", Outside(feature, 0.18, 9999.0, RNG)),
    ]


@pytest.mark.parametrize("feature", ["normal", "skewed", "heavy", "twin", "count"])
def test_what_was_done_to_numbers_is_named_in_nine_of_ten_windows(feature: str) -> None:
    told: Counter[bool] = Counter()
    for seed, (kind, injection) in enumerate(injected(feature) * 2):
        report = verdict(Scenario((injection,)).apply(rows(1500, 100 + seed), SCHEMA.names))
        told[[(cause.feature, cause.kind) for cause in report.causes][:1] == [(feature, kind)]] += 1
        assert report.drifted_features, (kind, injection)
    assert told[True] >= 0.9 * told.total()


def test_unseen_categories_are_named_with_their_share() -> None:
    cause = verdict(Scenario((NewCategory("colour", 0.12, RNG),)).apply(rows(2000, 2), SCHEMA.names)).causes[0]
    assert (cause.feature, cause.kind) == ("colour", "new_categories")
    assert cause.effect == pytest.approx(0.12, abs=0.02)
    assert cause.sentence == "colour: 12 % of the values are categories that the baseline does not know"


def test_a_single_category_is_named() -> None:
    cause = verdict(Scenario((Constant("colour", 2.0),)).apply(rows(2000, 2), SCHEMA.names)).causes[0]
    assert (cause.kind, cause.sentence) == ("constant", "colour is 'red' in every row; in the baseline in 11 %")


def test_vanished_categories_are_named() -> None:
    matrix = rows(2000, 2)
    matrix[matrix[:, 5] == 1, 5] = 0.0
    cause = verdict(matrix).causes[0]
    assert cause.kind == "vanished_categories"
    assert cause.sentence.startswith("colour: 'green' vanished, 3")


def test_many_vanished_categories_are_counted() -> None:
    names = tuple("abcdefghij")
    schema = FeatureSchema((FeatureSpec("x"), FeatureSpec("letter", "categorical", names)))
    rng = np.random.default_rng(1)
    matrix = np.column_stack([rng.normal(size=3000), rng.integers(0, 10, 3000)]).astype(np.float64)
    window = matrix.copy()
    window[:, 1] %= 2
    known = BaselineProfile.fit(matrix, schema)
    summary = summarise_matrix(window, known)
    report = judge(monitor=MONITOR, profile=known, version="1", window=Window(0, 15_000), summary=summary)
    assert "'c', 'd', 'e' and 5 more vanished, 8" in report.causes[0].sentence


def test_other_shares_of_the_same_categories_are_named() -> None:
    matrix = rows(2000, 2)
    matrix[:900, 5] = 2.0
    cause = verdict(matrix).causes[0]
    assert cause.kind == "category_shares"
    assert cause.sentence == "colour: 'red' went from 11 % to 50 % of the values"


def test_a_boolean_tells_its_share() -> None:
    matrix = rows(2000, 2)
    matrix[:600, 6] = 1.0
    cause = verdict(matrix).causes[0]
    assert (cause.kind, cause.feature) == ("shift", "door")
    assert cause.sentence.startswith("door: true went from ")


def test_a_constant_that_begins_to_vary_is_named() -> None:
    matrix = rows(2000, 2)
    matrix[:500, 7] = 8.5
    cause = verdict(matrix).causes[0]
    assert cause.kind == "no_longer_constant"
    assert cause.sentence == "still was always 7; now 25 % of the values differ, 7 to 8.5"


def test_all_values_missing_is_told_and_nothing_else() -> None:
    matrix = rows(2000, 2)
    matrix[:, 1] = np.nan
    assert [(cause.kind, cause.sentence) for cause in verdict(matrix).causes] == [
        ("missing", "skewed: missing went from 0 % to 100 % of the rows")
    ]


def test_missing_and_shifted_are_two_causes_the_larger_first() -> None:
    matrix = rows(3000, 2)
    matrix[:, 0] += 30.0
    matrix[::10, 0] = np.nan
    assert next(cause.kind for cause in verdict(matrix).causes if cause.feature == "normal") == "shift"
    assert {cause.kind for cause in verdict(matrix).causes} >= {"shift", "missing", "out_of_range"}


def test_a_mean_and_spread_as_before_is_told_by_the_bin_that_changed() -> None:
    matrix = rows(4000, 3)
    matrix[:, 0] = 50.0 + 10.0 * np.where(matrix[:, 6] == 1, -1.0, 1.0) * np.where(np.arange(4000) % 2, 1.0, -1.0)
    cause = verdict(matrix).causes[0]
    assert (cause.feature, cause.kind) == ("normal", "distribution")
    assert cause.sentence.startswith("normal: values from ")


def test_a_broken_correlation_is_named_though_neither_feature_drifted() -> None:
    report = verdict(Scenario((BrokenCorrelation("twin", RNG),)).apply(rows(2000, 4), SCHEMA.names))
    (cause,) = report.causes
    assert not report.drifted_features
    assert (cause.feature, cause.other, cause.kind) == ("normal", "twin", "correlation")
    assert cause.effect == pytest.approx(-0.92, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_usual_windows_have_no_causes(seed: int) -> None:
    assert verdict(rows(1000, 50 + seed)).causes == ()


def test_the_largest_change_comes_first() -> None:
    matrix = rows(2000, 2)
    matrix[:, 0] += 5.0
    matrix[:, 2] += 20.0
    assert [cause.feature for cause in verdict(matrix).causes if cause.kind == "shift"] == ["heavy", "normal"]


def test_a_zero_mean_hides_a_unit_only_while_its_factor_is_small() -> None:
    schema = FeatureSchema((FeatureSpec("x"),))
    matrix = np.random.default_rng(1).normal(size=(3000, 1))
    known = BaselineProfile.fit(matrix, schema)
    kinds = {}
    for factor in (2.54, 60.0, -1.0):
        summary = summarise_matrix(matrix[:1000] * factor, known)
        report = judge(monitor=MONITOR, profile=known, version="1", window=Window(0, 15_000), summary=summary)
        kinds[factor] = [cause.kind for cause in report.causes][:1]
    assert kinds == {2.54: ["spread"], 60.0: ["unit"], -1.0: []}


def test_kelvin_and_a_turned_sign_are_units() -> None:
    sentences = []
    for factor, offset in ((1.0, 273.15), (1.0, -273.15), (-1.0, 0.0)):
        causes = verdict(Scenario((Unit("normal", factor, offset),)).apply(rows(1500, 5), SCHEMA.names)).causes
        assert (causes[0].feature, causes[0].kind) == ("normal", "unit")
        sentences.append(causes[0].sentence)
    assert "273.1 added" in sentences[0]
    assert "-273.1 added" in sentences[1]
    assert sentences[2].endswith("looks like a change of unit (the sign)")


@pytest.mark.parametrize("value", [1e200, -1e200])
def test_values_whose_squares_overflow_are_beyond_the_range_and_no_more(value: float) -> None:
    matrix = rows(1500, 5)
    matrix[:1000, 0] = value
    cause = verdict(matrix).causes[0]
    assert (cause.kind, cause.effect) == ("out_of_range", pytest.approx(2 / 3))
    matrix[:, 0] = 50.0
    matrix[0, 0] = value
    assert verdict(matrix).causes[0].kind == "distribution"


def test_a_profile_or_a_summary_without_covariance_has_no_broken_correlation() -> None:
    broken = Scenario((BrokenCorrelation("twin", RNG),)).apply(rows(2000, 4), SCHEMA.names)
    summary = dataclasses.replace(summarise_matrix(broken, profile()), cross=None)
    assert causes_of(profile(), summary, verdict(broken).features) == ()
    without = dataclasses.replace(profile(), correlations=None)
    assert causes_of(without, summarise_matrix(broken, without), verdict(broken).features) == ()


def test_categories_alone_have_no_correlation_to_break() -> None:
    schema = FeatureSchema((FeatureSpec("letter", "categorical", ("a", "b")),))
    letters = np.arange(400.0)[:, None] % 2
    fitted = BaselineProfile.fit(letters, schema)
    assert causes_of(fitted, summarise_matrix(letters, fitted), ()) == ()


def test_each_feature_is_in_one_broken_pair_only() -> None:
    schema = FeatureSchema(tuple(FeatureSpec(f"x{at}") for at in range(3)))
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(3000, 1)) + 0.3 * rng.normal(size=(3000, 3))
    known = BaselineProfile.fit(matrix, schema)
    window = np.column_stack([rng.permutation(column) for column in matrix[:2000].T])
    report = judge(
        monitor=MONITOR, profile=known, version="1", window=Window(0, 15_000), summary=summarise_matrix(window, known)
    )
    assert [cause.kind for cause in report.causes] == ["correlation"]


@dataclasses.dataclass
class Answers:
    name: str
    tests: dict[str, DriftResult]
    drifted: bool = True
    kind: SubjectKind = "prediction"


def test_a_drift_of_the_models_answers_is_told_by_the_test_that_found_it() -> None:
    found = Measured(9.0, -50.0, 1e-6, 0.4, "standard deviations")
    tests: dict[str, DriftResult] = {"jensen_shannon": NotMeasured("none"), "location": found}
    (cause,) = causes_of(profile(), summarise_matrix(rows(1000, 6), profile()), [Answers("prediction", tests)])
    assert (cause.kind, cause.sentence) == (
        "prediction",
        "prediction: the model's answers changed by 0.4 standard deviations",
    )


def test_every_drifted_feature_has_a_cause_however_faint() -> None:
    judged = [Answers("normal", {}, kind="feature"), Answers("colour", {}, kind="feature")]
    causes = causes_of(profile(), summarise_matrix(rows(1000, 6), profile()), judged)
    assert [(cause.feature, cause.kind) for cause in causes] == [
        ("normal", "distribution"),
        ("colour", "category_shares"),
    ]


def test_a_spread_too_small_for_its_square_is_no_unit() -> None:
    matrix = rows(1500, 5)
    matrix[:, 2] = np.where(np.arange(1500) % 2, 1e-200, 0.0)
    assert verdict(matrix).causes[0].kind == "spread"


def test_values_too_small_to_have_a_spread_are_told_by_their_bins() -> None:
    """Squares of numbers below 1e-162 are 0."""
    tiny = FeatureSchema((FeatureSpec("tiny"),))
    matrix = np.random.default_rng(9).normal(size=(1000, 1)) * 1e-170
    profile = BaselineProfile.fit(matrix, tiny)
    summary = summarise_matrix(np.abs(matrix), profile)
    report = judge(monitor=MONITOR, profile=profile, version="1", window=Window(0, 15_000), summary=summary)
    assert [cause.kind for cause in report.causes] == ["distribution"]
