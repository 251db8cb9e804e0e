"""Two model versions that served the same window, compared with each other: a canary against the stable one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tidegauge.baseline import BaselineProfile
from tidegauge.budget import Budget
from tidegauge.drift import DRIFT_TESTS, run_tests
from tidegauge.drift.results import NotMeasured, Results
from tidegauge.drift.window_bins import FeatureBins, WindowBins
from tidegauge.monitor import ModelMonitor
from tidegauge.subjects import subjects_of
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.summaries.window_summary import WindowSummary


@dataclass(frozen=True)
class Versus:
    """
    version: the one compared with. requests: its own. tests: of each feature, of the model's answers and of the scores,
    this version's window against the other's in the baseline's bins, at the budget's level for one decision; the
    other's own sampling error is allowed for in 99 of 100 windows. They raise no alarm. Rows are taken as independent:
    what makes traffic vary makes it vary for both.
    """

    version: str
    requests: RequestCounts
    tests: Mapping[str, Results]

    @property
    def differing(self) -> list[str]:
        """What a test says that the two differ in."""
        return [name for name, results in self.tests.items() if results.drifted]


def compare_versions(
    *, monitor: ModelMonitor, profile: BaselineProfile, version: str, stable: WindowSummary, canary: WindowSummary
) -> Versus:
    """version: of the stable one. Raises IncompatibleSummaries when the bins are not the profile's."""
    ours, subjects = (subjects_of(profile, summary, monitor.outliers.detectors) for summary in (stable, canary))
    reasons = {subjects.names[at]: why for at, why in subjects.withheld(monitor.capture).items()}
    theirs = {bins.name: bins for bins in subjects.bins.features}
    pairs = [(bins, theirs[bins.name]) for bins in ours.bins.features if bins.name in theirs]
    withheld = {a.name: _not_tested(reasons[a.name]) for a, _ in pairs if a.name in reasons}
    bins = [FeatureBins(b.name, b.kind, a.window, b.window, b.positions) for a, b in pairs if a.name not in reasons]
    if not bins:
        return Versus(version, stable.requests, withheld)
    if (rows := float(bins[0].reference.sum())) < monitor.windows.min_count:
        few = _not_tested(f"needs {monitor.windows.min_count} rows, version {version} has {rows:.0f}")
        return Versus(version, stable.requests, withheld | {b.name: few for b in bins})
    budget = Budget.over(len(bins), drift=monitor.drift, windows=monitor.windows)
    levels = {test: replace(budget.level(test), fixed=None) for test in DRIFT_TESTS}
    results = run_tests(DRIFT_TESTS, WindowBins.of(bins, min_count=monitor.windows.min_count), levels)
    tests = {b.name: tests for b, tests in zip(bins, results, strict=True)}
    return Versus(version, stable.requests, tests | withheld)


def _not_tested(why: str) -> Results:
    return Results.given(dict.fromkeys(DRIFT_TESTS, NotMeasured(why)))
