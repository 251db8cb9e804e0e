"""Answers kept column by column say of each feature what the answers by themselves say."""

from __future__ import annotations

import math

import numpy as np
import orjson
import pytest

from tidegauge.drift.results import (
    Answers,
    DriftResult,
    Measured,
    NotMeasured,
    Outcomes,
    Results,
    first_reason,
    reasons,
)

FEW = NotMeasured('needs "100" rows, 5 %')

DECIDING: list[DriftResult] = [
    Measured(9.0, -50.0, 1e-6, 0.4, "nats"),
    Measured(1.0, -0.5, 1e-6, -0.9, "nats", 0.5),
    Measured(1.0, 0.0, 0.0, 0.1, "nats"),
    FEW,
    Measured(1.0, -0.5, 0.0, 0.1, "nats", 0.5),
]
"""By the budget, by a fixed threshold, nothing may be spent, not measured, below its fixed threshold."""

REPORTED: list[DriftResult] = [
    Measured(2.0, math.nan, None, 7.0, "of the values"),
    FEW,
    Measured(2.0, -900.0, None, math.inf, "of the values"),
    FEW,
    Measured(3.0, -1.0, None, -0.25, "of the values", 0.2),
]

OUTCOMES = Outcomes({"deciding": Answers.of(DECIDING), "reported": Answers.of(REPORTED)})


def document(result: DriftResult) -> object:
    if isinstance(result, NotMeasured):
        return {"measured": False, "why": result.why}
    return {
        "measured": True,
        "statistic": result.statistic,
        "p_value": None if math.isnan(result.log_p_value) else result.p_value,
        "threshold": result.threshold,
        "effect": result.effect if math.isfinite(result.effect) else None,
        "unit": result.unit,
        "fixed_threshold": result.fixed,
        "drifted": result.drifted,
        "rule": result.rule,
    }


def test_each_answer_is_what_went_in() -> None:
    for results, deciding, reported in zip(OUTCOMES, DECIDING, REPORTED, strict=True):
        assert list(results) == ["deciding", "reported"]
        assert (len(results), repr(dict(results))) == (2, repr({"deciding": deciding, "reported": reported}))
    assert len(OUTCOMES) == 5


def test_what_is_said_of_many_is_what_is_said_of_each() -> None:
    pairs = list(zip(DECIDING, REPORTED, strict=True))
    measured = [[one for one in pair if isinstance(one, Measured)] for pair in pairs]
    assert [results.measured for results in OUTCOMES] == [bool(one) for one in measured]
    assert [results.drifted for results in OUTCOMES] == [any(one.drifted for one in some) for some in measured]
    assert [results.drifted for results in OUTCOMES] == [True, True, False, False, True]
    assert [results.decisive for results in OUTCOMES] == [True, True, False, False, True]
    for results, (deciding, reported) in zip(OUTCOMES, pairs, strict=True):
        expected = {"deciding": document(deciding), "reported": document(reported)}
        assert orjson.loads(results.text) == expected
        assert {test: orjson.loads(text) for test, text in results.texts.items()} == expected


def test_the_first_reason_counts_and_what_has_one_is_not_measured() -> None:
    other = NotMeasured("redacted")
    assert first_reason({1: FEW}, {1: other, 2: other}) == {1: FEW, 2: other}
    assert reasons(np.array([True, False, True]), FEW) == {0: FEW, 2: FEW}
    without = OUTCOMES.without({0: other})
    assert dict(without[0]) == {"deciding": other, "reported": other}
    assert (without[0].drifted, without[1].drifted) == (False, True)
    assert OUTCOMES.without({}) is OUTCOMES


def test_the_largest_effects_are_of_each_span_and_finite() -> None:
    assert OUTCOMES.largest_effects([(0, 2), (2, 5)]) == [
        {"deciding": 0.9, "reported": 7.0},
        {"deciding": 0.1, "reported": 0.25},
    ]
    assert OUTCOMES.largest_effects([(3, 4), (4, 5)])[0] == {}


def test_given_answers_are_results_as_well() -> None:
    given = Results.given({"deciding": DECIDING[0], "few": FEW})
    assert dict(given) == {"deciding": DECIDING[0], "few": FEW}
    assert (given.drifted, given.measured, given.decisive) == (True, True, True)
    assert dict(Results.given({})) == {}


def test_a_test_that_is_not_there_is_no_answer() -> None:
    with pytest.raises(KeyError):
        OUTCOMES[0]["other"]
