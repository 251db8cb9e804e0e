"""
Whether a window's own statistics lie outside what the baseline leads one to expect: "outliers over windows".

These are findings to read beside the drift tests, not alarms: nothing is charged to the false-alarm budget for them.
Each says with what probability a window of as many independent rows from the baseline's own source would be found
outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.drift.results import NotMeasured
from tidegauge.reference import FeatureReference
from tidegauge.summaries.window_summary import WindowSummary

SIGMAS: Final = 3.0


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
    moments = summary.moments
    columns = (moments.count, moments.low, moments.high, moments.mean, moments.population_standard_deviation())
    bounds = np.array(summary.bins.bounds)
    below, above = summary.bins.counts[bounds[:-1]].tolist(), summary.bins.counts[bounds[1:] - 2].tolist()
    described = zip(profile.schema.features, profile.references, summary.bins.weighted, below, above, strict=True)
    results: list[dict[str, RangeResult]] = []
    for (feature, reference, weighted, lower, higher), (rows, low, high, mean, spread) in zip(
        described, zip(*(column.tolist() for column in columns), strict=True), strict=True
    ):
        if feature.kind == "categorical" or not rows:
            categorical = feature.kind == "categorical"
            why = NotMeasured("categories have no range" if categorical else "the window has no value")
            results.append({"max": why, "min": why, "mean": why, "standard_deviation": why})
            continue
        results.append(
            {
                "max": _beyond(high, None, reference.high, higher, rows, reference.values),
                "min": _beyond(low, reference.low, None, lower, rows, reference.values),
                "mean": _mean(mean, reference, weighted.effective_values),
                "standard_deviation": _spread(spread, reference, rows),
            }
        )
    return results


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


def _beyond(
    value: float, low: float | None, high: float | None, beyond: int, rows: int, reference_rows: int
) -> RangeResult:
    """
    Exact, whatever the distribution: were all rows from one source, any of them would be as likely as any other to be
    the most extreme. So one of the window's is with probability rows / (rows + reference_rows), and the k most extreme
    ones all are with the product of k such shares; ties make it less. A large window is outside as a rule.
    """
    bound = high if low is None else low
    assert bound is not None, "a baseline has a range for all quantities"
    p_value = 1.0
    if beyond:
        shares = (rows - np.arange(beyond)) / (rows + reference_rows - np.arange(beyond))
        p_value = float(np.exp(np.log(shares).sum()))
    return Outside(
        value=value,
        low=low,
        high=high,
        outside=beyond > 0,
        expected=rows / (rows + reference_rows),
        p_value=p_value,
    )


def _mean(value: float, reference: FeatureReference, rows: float) -> RangeResult:
    """
    Three standard errors around the baseline's mean, its own error among them. 0.27 % of windows are outside, by the
    central limit theorem: more of few rows with heavy tails, and more where rows depend on each other.
    """
    if reference.mean is None or not reference.sd:
        return NotMeasured("the baseline's values are all the same")
    if not math.isfinite(value):
        return NotMeasured("the window's mean is too large for a number")
    error = reference.sd * math.sqrt(1 / rows + 1 / reference.values)
    distance = abs(value - reference.mean) / error
    return Outside(
        value=value,
        low=reference.mean - SIGMAS * error,
        high=reference.mean + SIGMAS * error,
        outside=distance > SIGMAS,
        expected=math.erfc(SIGMAS / math.sqrt(2)),
        p_value=math.erfc(distance / math.sqrt(2)),
    )


def _spread(value: float, reference: FeatureReference, rows: int) -> RangeResult:
    """
    Three times the baseline's standard deviation. By Markov's inequality on the variance at most one window in nine is
    outside, whatever the distribution; of all but the heaviest tails practically none is.
    """
    if not reference.sd:
        return NotMeasured("the baseline's values are all the same")
    if not math.isfinite(value) or rows < 2:
        return NotMeasured("needs 2 values, the window has 1" if rows < 2 else "the spread is too large for a number")
    return Outside(
        value=value,
        low=None,
        high=SIGMAS * reference.sd,
        outside=value > SIGMAS * reference.sd,
        expected=1 / SIGMAS**2,
        p_value=min(1.0, (reference.sd / value) ** 2 if value else 1.0),
    )
