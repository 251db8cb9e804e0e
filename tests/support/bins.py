"""A drift test run on one feature's bins."""

from __future__ import annotations

from tidegauge.drift import DriftTest, run_tests
from tidegauge.drift.results import Array, Counts, DriftResult
from tidegauge.drift.window_bins import AlarmLevel, FeatureBins, WindowBins
from tidegauge.features import Kind


def one_feature(
    kind: Kind, reference: Counts, window: Counts, min_count: int, positions: Array | None = None
) -> WindowBins:
    return WindowBins.of([FeatureBins("x", kind, reference, window, positions)], min_count=min_count)


def result_of(test: DriftTest, bins: WindowBins, level: AlarmLevel) -> DriftResult:
    """bins: of one feature."""
    (results,) = run_tests({"test": test}, bins, {"test": level})
    return results["test"]
