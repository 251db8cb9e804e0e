"""
Pairs of features whose correlation broke while neither has drifted alone: what no test of one feature sees.

Fisher's z (Fisher 1921, "On the probable error of a coefficient of correlation", Metron 1) says what is beyond the
sampling error.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.causes.cause import Cause
from tidegauge.correlations import fisher_z
from tidegauge.summaries.window_summary import WindowSummary

SMALLEST_CHANGE: Final = 0.3
STANDARD_ERRORS: Final = 6.0
"""Of Fisher's z: leaves room for tens of thousands of pairs and for tails that are heavier than the normal ones."""

FEWEST_ROWS: Final = 50
MOST_PAIRS: Final = 5

Array = NDArray[np.float64]


def broken_correlations(profile: BaselineProfile, summary: WindowSummary, steady: Collection[str]) -> list[Cause]:
    """
    steady: names of the features that have not drifted. The largest change first, MOST_PAIRS at most, each feature in
    one of them only. Nothing where the profile has no correlations or the summary no covariance.
    """
    before = profile.correlations
    if before is None or summary.cross is None:
        return []
    now = summary.cross.correlation
    change = np.abs(now - before)
    large = change >= SMALLEST_CHANGE
    if not large.any():  # as in most windows
        return []
    names = [feature.name for feature in profile.schema.features if feature.kind != "categorical"]
    usable = np.array([name in steady for name in names], dtype=bool)
    changed = np.nonzero(np.triu(large & usable & usable[:, None], 1))
    errors = _standard_errors(before[changed], now[changed], summary.cross.count[changed], profile.rows)
    candidates = zip(*changed, (errors >= STANDARD_ERRORS).tolist(), strict=True)
    pairs = sorted(((i, j) for i, j, broken in candidates if broken), key=lambda pair: -change[pair])
    found: list[Cause] = []
    told: set[int] = set()
    for left, right in pairs:
        if told.isdisjoint((left, right)) and len(found) < MOST_PAIRS:
            told |= {left, right}
            found.append(_cause(names[left], names[right], float(before[left, right]), float(now[left, right])))
    return found


def _standard_errors(before: Array, now: Array, rows: NDArray[np.int64], reference_rows: int) -> Array:
    """How many of them the two are apart; 0 for pairs with too few rows."""
    apart = np.abs(fisher_z(now) - fisher_z(before))
    error = np.sqrt(1 / np.maximum(rows - 3, 1) + 1 / max(reference_rows - 3, 1))
    return np.where(rows >= FEWEST_ROWS, apart / error, 0.0)


def _cause(feature: str, other: str, before: float, now: float) -> Cause:
    return Cause(
        feature=feature,
        kind="correlation",
        effect=now - before,
        unit="correlation",
        sentence=f"{feature} and {other}: correlation went from {before:.2f} to {now:.2f}, while neither drifted alone",
        evidence={"correlation_before": before, "correlation_now": now},
        other=other,
    )
