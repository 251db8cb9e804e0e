"""
What of a window no single feature shows: all locations together, the relations between features.

They are reported and do not decide: of features far from normal their p-values are rough, since Fisher's z has the
variance that normal values give it, and the mean shift takes its correlations from the rows nearest the centre. What
they find shows in the distribution of the outlier scores, which decides within the budget as a feature does. A new one
is a function of the same shape and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from tidegauge.drift.results import DriftResult
from tidegauge.joint.correlation import correlation_change
from tidegauge.joint.evidence import Evidence
from tidegauge.joint.mean_shift import mean_shift

JointTest: TypeAlias = Callable[[Evidence], DriftResult]

JOINT_TESTS: Final[Mapping[str, JointTest]] = {
    "mean_shift": mean_shift,
    "correlation": correlation_change,
}


def run_joint_tests(evidence: Evidence) -> dict[str, DriftResult]:
    return {name: test(evidence) for name, test in JOINT_TESTS.items()}
