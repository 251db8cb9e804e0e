"""
The drift tests. A new one is a function of the same shape and a line in a table here.

DRIFT_TESTS decide, within the false-alarm budget. REPORTED_TESTS are effects with p-values that never decide by them:
over the same bins they are the same test again (divergence_null says why), or a less powerful one, and each would take
its share of the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from tidegauge.drift.chi_squared import log_survivals
from tidegauge.drift.hellinger import hellinger
from tidegauge.drift.jensen_shannon import jensen_shannon
from tidegauge.drift.kolmogorov_smirnov import kolmogorov_smirnov
from tidegauge.drift.kullback_leibler import kullback_leibler
from tidegauge.drift.location import location
from tidegauge.drift.pearson import pearson
from tidegauge.drift.population_stability import population_stability
from tidegauge.drift.results import Answers, Array, ChiSquaredTail, Findings, Outcomes
from tidegauge.drift.wasserstein import wasserstein
from tidegauge.drift.window_bins import AlarmLevel, WindowBins

DriftTest: TypeAlias = Callable[[WindowBins, AlarmLevel], Findings]
"""Of all features at once: one after the other, Python would take most of the time that a window is judged in."""

DRIFT_TESTS: Final[Mapping[str, DriftTest]] = {
    "jensen_shannon": jensen_shannon,
    "location": location,
}

REPORTED_TESTS: Final[Mapping[str, DriftTest]] = {
    "psi": population_stability,
    "kullback_leibler": kullback_leibler,
    "hellinger": hellinger,
    "wasserstein": wasserstein,
    "kolmogorov_smirnov": kolmogorov_smirnov,
    "chi_squared": pearson,
}


def run_tests(tests: Mapping[str, DriftTest], bins: WindowBins, levels: Mapping[str, AlarmLevel]) -> Outcomes:
    """Per feature, the results by test."""
    findings = [test(bins, levels[name]) for name, test in tests.items()]
    described = zip(tests, findings, _log_p_values(findings), strict=True)
    return Outcomes({name: _answers(found, p_values, levels[name]) for name, found, p_values in described})


def _log_p_values(findings: Sequence[Findings]) -> list[Array]:
    tails = [
        (found.statistic, found.log_p_value) for found in findings if isinstance(found.log_p_value, ChiSquaredTail)
    ]
    worked_out = iter(_tails(*zip(*tails, strict=True)) if tails else ())
    return [next(worked_out) if isinstance(f.log_p_value, ChiSquaredTail) else f.log_p_value for f in findings]


def _tails(statistics: Sequence[Array], tails: Sequence[ChiSquaredTail]) -> list[Array]:
    df, noncentrality = (np.concatenate(parts) for parts in zip(*((t.df, t.noncentrality) for t in tails), strict=True))
    return np.split(log_survivals(np.concatenate(statistics), df, noncentrality), len(tails))


def _answers(found: Findings, log_p_values: Array, level: AlarmLevel) -> Answers:
    shape = found.effect.shape
    return Answers(
        found.statistic,
        log_p_values,
        found.effect,
        found.unit,
        None if level.window is None else np.broadcast_to(level.window, shape),
        np.broadcast_to(np.nan if level.fixed is None else level.fixed, shape),
        found.why,
    )
