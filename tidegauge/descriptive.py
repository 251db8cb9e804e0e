"""
Whether a window's own statistics lie outside what the baseline leads one to expect: "outliers over windows".

These are findings to read beside the drift tests, not alarms: nothing is charged to the false-alarm budget for them.
Each says with what probability a window of as many independent rows from the baseline's own source would be found
outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.drift.results import NotMeasured, Reasons, first_reason, reasons
from tidegauge.json_texts import GAP, Form, Texts, numbers
from tidegauge.side_by_side import SideBySide, Summarised
from tidegauge.summaries.window_summary import WindowSummary

Array = NDArray[np.float64]

SIGMAS: Final = 3.0

RANGES: Final = ("max", "min", "mean", "standard_deviation")


class Outside(NamedTuple):
    """
    value: the window's statistic. low, high: what it may be, None where that side is open. expected: probability that a
    window like the baseline is outside, or a bound on it. p_value: that it is at least this far outside.
    """

    value: float
    low: float | None
    high: float | None
    outside: bool
    expected: float
    p_value: float


RangeResult: TypeAlias = Outside | NotMeasured


@dataclass(frozen=True)
class Ranges:
    """One statistic's results, in arrays with an entry per feature; Outside has the names. low, high: NaN for None."""

    value: Array
    low: Array
    high: Array
    outside: NDArray[np.bool_]
    expected: Array
    p_value: Array
    why: Reasons

    def __getitem__(self, at: int) -> RangeResult:
        if at in self.why:
            return self.why[at]
        low, high = (None if math.isnan(end[at]) else float(end[at]) for end in (self.low, self.high))
        return Outside(
            float(self.value[at]), low, high, bool(self.outside[at]), float(self.expected[at]), float(self.p_value[at])
        )

    @cached_property
    def texts(self) -> Texts:
        """As they stand in a report, where the statistic itself is beside them."""
        found = _FORM.fill(*map(numbers, (self.low, self.high, self.outside, self.expected, self.p_value)))
        for at, why in self.why.items():
            found[at] = orjson.dumps({"measured": False, "why": why.why})
        return found


_FORM: Final = Form({"measured": True, "low": GAP, "high": GAP, "outside": GAP, "expected": GAP, "p_value": GAP})


@dataclass(frozen=True, slots=True)
class OutlierRate:
    """
    rate: estimated share of flagged rows. expected: what the false-alarm rate and the baseline's known outliers lead
    one to expect, if the detectors found every one of these. p_value: of a rate this high or higher, one-sided.
    """

    rate: float
    expected: float
    p_value: float


def outside_range(profile: BaselineProfile, summary: WindowSummary) -> list[dict[str, RangeResult]]:
    """{"max", "min", "mean", "standard_deviation": result} per feature, in schema order."""
    ranges = ranges_of(SideBySide([Summarised(profile, summary)]))
    return [{name: ranges[name][at] for name in RANGES} for at in range(len(profile.schema))]


def ranges_of(windows: SideBySide) -> dict[str, Ranges]:
    """By the names of RANGES."""
    moments, references = windows.moments, windows.references
    below, above = windows.outermost
    low, high = (_numbers([getattr(reference, end) for reference in references]) for end in ("low", "high"))
    nothing = np.full(len(references), np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # of features that cannot be measured
        ranges = {
            "max": _beyond(windows, moments.high, high=high, low=nothing, beyond=above),
            "min": _beyond(windows, moments.low, high=nothing, low=low, beyond=below),
            "mean": _mean(windows),
            "standard_deviation": _spread(windows),
        }
    without = first_reason(
        reasons(~windows.quantities, NotMeasured("categories have no range")),
        reasons(moments.count == 0, NotMeasured("the window has no value")),
    )
    return {name: replace(found, why=first_reason(without, found.why)) for name, found in ranges.items()}


def outlier_rate(profile: BaselineProfile, summary: WindowSummary, *, rate: float) -> OutlierRate | NotMeasured:
    """
    rate: of false alarms, as the monitor has it. The count of flagged rows is taken to be beta-binomial: the detectors'
    calibration and the baseline's share of outliers come from as many rows as half of the scoring reference has, and
    are themselves uncertain (Vovk 2012, "Conditional validity of inductive conformal predictors"). Of weighted rows,
    their effective number counts.
    """
    rows = math.floor(summary.requests.effective_rows() + 1e-9)
    if not rows:
        return NotMeasured("no row was scored")
    sums = summary.requests.weighted()
    seen = sums["flagged"] / sums["rows"]
    known = profile.outliers / profile.rows
    expected = known + rate * (1 - known)
    calibrated = max((profile.rows - profile.outliers) // 2, 1)
    return OutlierRate(seen, expected, beta_binomial_tail(round(seen * rows), rows, expected, calibrated))


def beta_binomial_tail(at_least: int, trials: int, rate: float, evidence: float) -> float:
    """
    P(X >= at_least) of X successes among `trials`, whose probability is Beta distributed with mean `rate`, as if
    estimated from `evidence` trials. 0 < rate < 1.
    """
    if at_least <= 0:
        return 1.0
    a, b = rate * evidence, (1 - rate) * evidence
    successes = np.arange(trials, dtype=np.float64)
    ratios = (trials - successes) / (successes + 1) * (successes + a) / (trials - successes - 1 + b)
    # Relative to P(X = 0): the sums below scale it away, so that nothing underflows.
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    weights = np.exp(logs - logs.max())
    tail, whole = float(weights[at_least:].sum()), float(weights.sum())
    return min(1.0, tail / whole)


def _beyond(windows: SideBySide, value: Array, *, low: Array, high: Array, beyond: NDArray[np.int64]) -> Ranges:
    """
    Exact, whatever the distribution: were all rows from one source, any of them would be as likely as any other to be
    the most extreme. So one of the window's is with probability rows / (rows + reference_rows), and the k most extreme
    ones all are with the product of k such shares; ties make it less. A large window is outside as a rule.
    """
    rows, reference_rows = windows.moments.count, np.array([reference.values for reference in windows.references])
    p_value = np.ones(len(value))
    for at in np.flatnonzero((beyond > 0) & windows.quantities).tolist():
        taken = np.arange(beyond[at])
        shares = (rows[at] - taken) / (rows[at] + reference_rows[at] - taken)
        p_value[at] = np.exp(np.log(shares).sum())
    return Ranges(value, low, high, beyond > 0, rows / np.maximum(rows + reference_rows, 1), p_value, {})


def _mean(windows: SideBySide) -> Ranges:
    """
    Three standard errors around the baseline's mean, its own error among them. 0.27 % of windows are outside, by the
    central limit theorem: more of few rows with heavy tails, and more where rows depend on each other.
    """
    value, deviations = windows.moments.mean, _deviations(windows)
    mean = _numbers([reference.mean for reference in windows.references])
    reference_rows = np.array([reference.values for reference in windows.references])
    error = deviations * np.sqrt(1 / windows.effective_values + 1 / reference_rows)
    distance = np.abs(value - mean) / error
    return Ranges(
        value=value,
        low=mean - SIGMAS * error,
        high=mean + SIGMAS * error,
        outside=distance > SIGMAS,
        expected=np.full(len(value), math.erfc(SIGMAS / math.sqrt(2))),
        p_value=np.array([math.erfc(one) for one in (distance / math.sqrt(2)).tolist()]),
        why=first_reason(
            reasons(~(deviations > 0), NotMeasured("the baseline's values are all the same")),
            reasons(~np.isfinite(value), NotMeasured("the window's mean is too large for a number")),
        ),
    )


def _spread(windows: SideBySide) -> Ranges:
    """
    Three times the baseline's standard deviation. By Markov's inequality on the variance at most one window in nine is
    outside, whatever the distribution; of all but the heaviest tails practically none is.
    """
    value, deviations = windows.moments.population_standard_deviation(), _deviations(windows)
    return Ranges(
        value=value,
        low=np.full(len(value), np.nan),
        high=SIGMAS * deviations,
        outside=value > SIGMAS * deviations,
        expected=np.full(len(value), 1 / SIGMAS**2),
        p_value=np.where(value > 0, np.minimum(1.0, (deviations / value) ** 2), 1.0),
        why=first_reason(
            reasons(~(deviations > 0), NotMeasured("the baseline's values are all the same")),
            reasons(windows.moments.count < 2, NotMeasured("needs 2 values, the window has 1")),
            reasons(~np.isfinite(value), NotMeasured("the spread is too large for a number")),
        ),
    )


def _deviations(windows: SideBySide) -> Array:
    """The baseline's standard deviations."""
    return _numbers([reference.sd for reference in windows.references])


def _numbers(values: Sequence[float | None]) -> Array:
    """NaN for None."""
    return np.array(values, dtype=np.float64)
