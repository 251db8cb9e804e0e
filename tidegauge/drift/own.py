"""
A drift test of a user's own: a function of one feature's bins. docs/extending.md shows one.

It may fail in any way, and the verdict goes on: what it raises, and what it answers that is no answer, is NotMeasured.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegauge.drift import DriftTest
from tidegauge.drift.results import Counts, Findings, NotMeasured
from tidegauge.drift.window_bins import AlarmLevel, FeatureBins, WindowBins
from tidegauge.errors import InvalidExtension
from tidegauge.extensions import load_extension, what_failed

_SMALLEST_LOG: Final = math.log(5e-324)


@dataclass(frozen=True, slots=True)
class Finding:
    """
    effect: size of the change in `unit`, finite. p_value: of what `level` allows the window to differ by; None for a
    test that never decides.
    """

    effect: float
    unit: str
    p_value: float | None = None


FeatureTest: TypeAlias = Callable[[FeatureBins, AlarmLevel], Finding | NotMeasured]
"""
One feature at a time. level.minimum_effect, .baseline and .dispersion are what a p-value has to allow for: the smallest
change of interest, the probability that the baseline's own sampling error may exceed what is allowed for it, and how
much more the window varies than independent rows would.
"""


def own_test(name: str, *, decides: bool) -> DriftTest:
    """name: "module:function". What cannot be loaded measures nothing, and says why."""
    try:
        return each_feature(load_extension(name), decides=decides)
    except InvalidExtension as error:
        return _unavailable(str(error))


def each_feature(test: FeatureTest, *, decides: bool = False) -> DriftTest:
    def of_all(bins: WindowBins, level: AlarmLevel) -> Findings:
        few = bins.too_few_rows
        answers = [
            few.get(at) or answer_of(test, feature, level.of(at), decides=decides)
            for at, feature in enumerate(bins.features)
        ]
        units = {answer.unit for answer in answers if isinstance(answer, Finding)}
        return _findings(answers, unit=min(units, default=""))

    return of_all


def answer_of(
    test: FeatureTest,
    feature: FeatureBins,
    level: AlarmLevel,
    *,
    decides: bool,
    told: Callable[[Exception], object] = lambda _error: None,
) -> Finding | NotMeasured:
    """Never raises; `told` what was raised. The test cannot change the counts, which others look at, too."""
    seen = replace(feature, reference=_locked(feature.reference), window=_locked(feature.window))
    try:
        with np.errstate(all="ignore"):
            return _checked(test(seen, level), decides=decides)
    except Exception as error:  # noqa: BLE001 - it is the user's own code
        told(error)
        return NotMeasured(what_failed(error))


def share_changed(bins: FeatureBins, chosen: NDArray[np.bool_], level: AlarmLevel) -> Finding:
    """
    Whether another share of the rows than in the baseline lies in the chosen bins, up or down. Effect: the difference
    of the shares. The p-value holds at every level, however few rows are in them: it is Chernoff's bound (Hoeffding
    1963, "Probability inequalities for sums of bounded random variables", theorem 1), for the baseline's error, too.
    """
    before, now = (float(counts[chosen].sum()) for counts in (bins.reference, bins.window))
    was, became = before / bins.reference_rows, now / bins.rows
    low, high = _interval(was, bins.reference_rows, float(level.baseline))
    low, high = min(low, was - float(level.minimum_effect)), max(high, was + float(level.minimum_effect))
    nearest = min(max(became, low), high)
    log_p_value = math.log(2) - bins.rows / float(level.dispersion) * _information(became, nearest)
    return Finding(became - was, "share of the rows", math.exp(min(log_p_value, 0.0)))


@functools.lru_cache(maxsize=4096)
def _interval(share: float, rows: float, risk: float) -> tuple[float, float]:
    """Where the truth behind an observed share lies, but for the risk."""
    limit = math.log(2 / risk) / rows
    ends = []
    for end in (0.0, 1.0):
        inside, outside = share, end
        for _ in range(50):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if _information(share, middle) <= limit else (inside, middle)
        ends.append(outside)
    return ends[0], ends[1]


def _information(share: float, expected: float) -> float:
    """Kullback-Leibler divergence of two shares, in nats."""
    found = 0.0
    for p, q in ((share, expected), (1 - share, 1 - expected)):
        if p > 0:
            found += p * math.log(p / q) if q > 0 else math.inf
    return max(found, 0.0)


def _checked(answer: Any, *, decides: bool) -> Finding | NotMeasured:
    if isinstance(answer, NotMeasured):
        return answer
    if not isinstance(answer, Finding):
        raise TypeError(f"answered {type(answer).__name__}, not Finding or NotMeasured")
    if decides and answer.p_value is None:
        raise ValueError("no p_value: a test that decides needs one")
    p_value = None if answer.p_value is None else float(answer.p_value)
    if not math.isfinite(answer.effect):
        raise ValueError(f"effect {answer.effect}: expected a finite number")
    if p_value is not None and not 0 <= p_value <= 1:
        raise ValueError(f"p_value {p_value}: expected 0 to 1, or None")
    return Finding(float(answer.effect), str(answer.unit), p_value)


def _findings(answers: list[Finding | NotMeasured], *, unit: str) -> Findings:
    none = Finding(0.0, unit)
    found = [answer if isinstance(answer, Finding) else none for answer in answers]
    effects = np.array([finding.effect for finding in found])
    return Findings(
        statistic=effects,
        log_p_value=np.array([_log(finding.p_value) for finding in found]),
        effect=effects,
        unit=unit,
        why={at: answer for at, answer in enumerate(answers) if isinstance(answer, NotMeasured)},
    )


def _log(p_value: float | None) -> float:
    if p_value is None:
        return math.nan
    return math.log(p_value) if p_value else _SMALLEST_LOG


def _unavailable(why: str) -> DriftTest:
    def of_all(bins: WindowBins, level: AlarmLevel) -> Findings:
        return _findings([NotMeasured(why)] * len(bins), unit="")

    return of_all


def _locked(counts: Counts) -> Counts:
    view = counts.view()
    view.flags.writeable = False
    return view
