"""The monitor's section `drift`: what is drift, and how often it may be said for nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tidegauge.errors import InvalidMonitor
from tidegauge.sections import Section, duration_ms

DECISIVE_TESTS: Final = ("jensen_shannon", "location")
DRIFT_TEST_NAMES: Final = (
    *DECISIVE_TESTS,
    "psi",
    "kullback_leibler",
    "hellinger",
    "wasserstein",
    "kolmogorov_smirnov",
    "chi_squared",
)

DEFAULT_MINIMUM_EFFECT: Final[Mapping[str, float]] = {"jensen_shannon": 0.002, "location": 0.1}
"""
Smallest change worth an alarm. location: in the baseline's standard deviations. jensen_shannon: in nats; a normal
distribution shifted by 0.126 standard deviations has 0.002 (delta^2 / 8).
"""


@dataclass(frozen=True)
class FalseAlarmBudget:
    alarms: float = 1.0
    period_s: float = 30 * 86_400.0


@dataclass(frozen=True)
class OwnTests:
    """A user's own drift tests, "module:function"."""

    decide: tuple[str, ...] = ()
    """Each takes its share of the false-alarm budget."""
    report: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drift:
    false_alarms: FalseAlarmBudget = field(default_factory=FalseAlarmBudget)
    minimum_effect: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_MINIMUM_EFFECT))
    """{test: effect} below which a change is not an alarm, however significant; 0 for a user's own test by default."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """{test: size of effect} from which a change is drift, however insignificant; these keep to no budget."""
    own: OwnTests = field(default_factory=OwnTests)


def parse_drift(section: Section) -> Drift:
    section.only("falseAlarms", "minimumEffect", "thresholds", "own")
    own = _own(section.section("own", {}))
    effects = section.section("minimumEffect", {})
    effects.only(*DECISIVE_TESTS, *own.decide, *own.report)
    chosen = {
        test: effects.number(test, DEFAULT_MINIMUM_EFFECT.get(test, 0.0), above=-1e-300, below=1e6)
        for test in (*DECISIVE_TESTS, *own.decide, *own.report)
        if test in DECISIVE_TESTS or effects.has(test)
    }
    fixed = section.section("thresholds", {})
    tests = (*DRIFT_TEST_NAMES, *own.decide, *own.report)
    fixed.only(*tests)
    thresholds = {test: fixed.number(test, 0.0, above=0.0, below=math.inf) for test in tests if fixed.has(test)}
    budget = section.converted("falseAlarms", _budget, '"N per DURATION", such as "1 per 30d"', "1 per 30d")
    return Drift(budget, chosen, thresholds, own)


def _own(section: Section) -> OwnTests:
    section.only("decide", "report")
    own = OwnTests(section.extensions("decide", "module:function"), section.extensions("report", "module:function"))
    if twice := sorted(set(own.decide) & set(own.report)):
        raise InvalidMonitor(section.path, "each test in one of decide and report", twice)
    return own


def _budget(text: str) -> FalseAlarmBudget:
    alarms, _, period = text.partition(" per ")
    budget = FalseAlarmBudget(float(alarms), duration_ms(period.strip()) / 1000)
    if not (0 < budget.alarms < 1e9 and budget.period_s > 0):
        raise ValueError(text)
    return budget
