"""A user's own drift test: held to its promises, judged within the budget, and harmless where it fails."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from tests.support.bins import result_of
from tests.support.own import largest_gap, upper_tail
from tidegauge.drift.contract import check_drift_test
from tidegauge.drift.own import FeatureTest, Finding, each_feature, own_test, share_changed
from tidegauge.drift.results import DriftResult, Measured, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, FeatureBins, WindowBins

LEVEL = AlarmLevel(window=1e-6, baseline=1e-4, minimum_effect=0.0)
REFERENCE = np.array([0, 900, 90, 10, 0, 0])


def answered(test: FeatureTest, window: Any, *, level: AlarmLevel = LEVEL, decides: bool = True) -> DriftResult:
    bins = WindowBins.of([FeatureBins("x", "numeric", REFERENCE, np.array(window))], min_count=100)
    return result_of(each_feature(test, decides=decides), bins, level)


@pytest.mark.parametrize(("test", "decides"), [(upper_tail, True), (largest_gap, False)])
def test_good_ones_keep_their_promises(test: FeatureTest, decides: bool) -> None:
    check_drift_test(test, decides=decides)


def test_its_answer_becomes_a_result_with_the_rule_that_it_meets() -> None:
    found = answered(upper_tail, [0, 500, 300, 200, 0, 0])
    assert isinstance(found, Measured)
    assert (found.effect, found.unit, found.rule, found.threshold) == (0.4, "share of the rows", "budget", 1e-6)
    usual = answered(upper_tail, [0, 450, 45, 5, 0, 0])
    assert isinstance(usual, Measured)
    assert (usual.p_value, usual.drifted) == (1.0, False)
    fixed = answered(largest_gap, [0, 500, 0, 0, 0, 0], level=AlarmLevel(None, 1e-4, 0.0, fixed=0.05), decides=False)
    assert isinstance(fixed, Measured)
    assert fixed.rule == "fixed_threshold"
    assert math.isnan(fixed.p_value)


def test_it_is_shown_how_many_rows_and_values_there_are() -> None:
    bins = FeatureBins("x", "numeric", REFERENCE, np.array([0, 50, 30, 0, 0, 20]))
    assert (bins.rows, bins.values, bins.reference_rows, bins.reference_values) == (100.0, 80.0, 1000.0, 1000.0)


def test_few_rows_are_not_even_shown_to_it() -> None:
    assert answered(upper_tail, [0, 50, 0, 0, 0, 0]) == NotMeasured("needs 100 rows, the window has 50")


def fails(bins: FeatureBins, level: AlarmLevel) -> Finding:
    raise RuntimeError("two\nlines" + 500 * "!")


def meddles(bins: FeatureBins, level: AlarmLevel) -> Finding:
    bins.window[0] += 1
    return Finding(0.0, "", 1.0)


FAULTS: dict[str, tuple[FeatureTest, str]] = {
    "raises": (fails, "RuntimeError: two lines!!!"),
    "changes what it is shown": (meddles, "ValueError: assignment destination is read-only"),
    "answers a number": (lambda bins, level: 0.5, "TypeError: answered float, not Finding or NotMeasured"),  # type: ignore[dict-item, return-value]
    "endless effect": (lambda bins, level: Finding(math.inf, "", 0.5), "ValueError: effect inf"),
    "impossible p-value": (lambda bins, level: Finding(1.0, "", 1.5), "ValueError: p_value 1.5"),
    "no p-value": (lambda bins, level: Finding(1.0, ""), "ValueError: no p_value: a test that decides needs one"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_reason_and_no_exception(fault: str) -> None:
    test, why = FAULTS[fault]
    found = answered(test, REFERENCE)
    assert isinstance(found, NotMeasured)
    assert found.why.startswith(why)
    assert len(found.why) <= 200


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_breaks_the_contract(fault: str) -> None:
    with pytest.raises(AssertionError, match="an answer to any bins: not so, seen a constant"):
        check_drift_test(FAULTS[fault][0], decides=True)


class Moody:
    calls = 0

    def __call__(self, bins: FeatureBins, level: AlarmLevel) -> Finding:
        self.calls += 1
        return Finding(float(self.calls), "calls", 1.0)


def plug_in(bins: FeatureBins, level: AlarmLevel) -> Finding:
    """The textbook's test of a share, which takes the baseline for the truth."""
    before, now = (float(counts[2:].sum() / counts.sum()) for counts in (bins.reference, bins.window))
    error = math.sqrt(before * (1 - before) * float(level.dispersion) / bins.rows)
    return Finding(now - before, "share", float(2 * norm.sf(abs(now - before) / error)) if error else 1.0)


def undispersed(bins: FeatureBins, level: AlarmLevel) -> Finding:
    """Takes repeated rows for independent ones."""
    return upper_tail(bins, level.scaled(1.0))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("test", "promise"),
    [
        pytest.param(Moody(), "the same bins have the same answer", id="moody"),
        pytest.param(lambda bins, level: Finding(1.0, "", 0.01), "the baseline itself has not drifted", id="eager"),
        pytest.param(lambda bins, level: Finding(0.0, "", 1.0), "all rows in one bin.* 1e-6 or below", id="silent"),
        pytest.param(undispersed, "p-values of 5 % are as rare as that.*dispersion 9", id="undispersed"),
        pytest.param(plug_in, "p-values of 5 % are as rare as that.* 500 rows of baseline", id="plug-in"),
    ],
)
def test_a_broken_promise_is_named(test: FeatureTest, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_drift_test(test, decides=True)


@pytest.mark.parametrize(
    ("name", "why"),
    [("tests.support.own:nothing", "tests.support.own has no nothing"), ("no_such_module:test", "cannot import")],
)
def test_what_cannot_be_loaded_measures_nothing_and_says_why(name: str, why: str) -> None:
    bins = WindowBins.of([FeatureBins("x", "numeric", REFERENCE, REFERENCE)], min_count=100)
    found = result_of(own_test(name, decides=True), bins, LEVEL)
    assert isinstance(found, NotMeasured)
    assert why in found.why


@given(rows=st.integers(1, 400), share=st.floats(0.01, 0.99), data=st.data())
def test_the_bound_of_a_share_is_no_smaller_than_the_binomial_tail(rows: int, share: float, data: Any) -> None:
    """With so many rows of baseline that its error is small beside the minimum effect."""
    seen = data.draw(st.integers(0, rows))
    many = 10**15
    before = round(many * share)
    bins = FeatureBins("x", "numeric", np.array([before, many - before]), np.array([seen, rows - seen]))
    level = AlarmLevel(1e-6, 0.5, 0.001)
    found = share_changed(bins, np.array([True, False]), level)
    low, high = max(share - 0.001, 0.0), min(share + 0.001, 1.0)
    tails = 1.0
    if seen / rows > high:
        tails = binom.sf(seen - 1, rows, high)
    elif seen / rows < low:
        tails = binom.cdf(seen, rows, low)
    assert found.p_value is not None
    assert found.p_value >= tails * (1 - 1e-6)
    assert found.effect == pytest.approx(seen / rows - share, abs=1e-9)


def test_a_share_without_a_row_in_the_baseline_may_still_have_some() -> None:
    """None of 1,000: at a risk of 1e-4 the truth may be as high as 1 %."""
    reference, chosen = np.array([0, 1000, 0]), np.array([True, False, False])
    p_values = [
        share_changed(FeatureBins("x", "numeric", reference, np.array([some, 1000 - some, 0])), chosen, LEVEL).p_value
        for some in (0, 9, 60)
    ]
    assert p_values[:2] == [1.0, 1.0]
    assert p_values[2] is not None
    assert p_values[2] < 1e-6
    everything = FeatureBins("x", "numeric", np.array([0, 1000]), np.array([0, 500]))
    assert share_changed(everything, np.array([False, True]), LEVEL).p_value == 1.0


def test_an_impossible_p_value_of_nothing_still_ranks() -> None:
    found = answered(lambda bins, level: Finding(1.0, "", 0.0), REFERENCE)
    assert isinstance(found, Measured)
    assert found.drifted
    assert math.isfinite(found.log_p_value)
