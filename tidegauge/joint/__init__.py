"""
What of a window no single feature shows: all locations together, the relations between features.

They are reported and do not decide: of features far from normal their p-values are rough, since Fisher's z has the
variance that normal values give it, and the mean shift takes its correlations from the rows nearest the centre. What
they find shows in the distribution of the outlier scores, which decides within the budget as a feature does. A new one
is a function of the same shape and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from tidegauge.drift.results import Answers, DriftResult, Outcomes
from tidegauge.joint.correlation import correlation_changes
from tidegauge.joint.evidence import Evidence
from tidegauge.joint.mean_shift import mean_shifts

JointTest: TypeAlias = Callable[[Sequence[Evidence]], list[DriftResult]]
"""Of several windows, for the sake of what is quicker worked out together."""

JOINT_TESTS: Final[Mapping[str, JointTest]] = {
    "mean_shift": mean_shifts,
    "correlation": correlation_changes,
}


def run_joint_tests(windows: Sequence[Evidence]) -> Outcomes:
    """Per window, the results by test."""
    return Outcomes({name: Answers.of(test(windows)) for name, test in JOINT_TESTS.items()})
