"""
The drift tests. A new one is a function of the same shape and a line in a table here.

DRIFT_TESTS decide, within the false-alarm budget. REPORTED_TESTS are effects with p-values that never decide by them:
over the same bins they are the same test again (divergence_null says why), or a less powerful one, and each would take
its share of the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from tidegauge.drift.hellinger import hellinger
from tidegauge.drift.jensen_shannon import jensen_shannon
from tidegauge.drift.kolmogorov_smirnov import kolmogorov_smirnov
from tidegauge.drift.kullback_leibler import kullback_leibler
from tidegauge.drift.location import location
from tidegauge.drift.pearson import pearson
from tidegauge.drift.population_stability import population_stability
from tidegauge.drift.results import DriftResult
from tidegauge.drift.wasserstein import wasserstein
from tidegauge.drift.window_bins import AlarmLevel, WindowBins

DriftTest: TypeAlias = Callable[[WindowBins, AlarmLevel], DriftResult]

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
