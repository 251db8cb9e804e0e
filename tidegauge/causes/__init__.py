"""
What has changed, and how, in one sentence per change: from counts, bins and moments alone.

Verdicts are the drift tests'; causes only explain. So a cause is looked for in features that have drifted, and in
pairs of features whose correlation broke while neither drifted. Shifts and spreads are told apart by normal scores of
the bins, which wild values cannot bend; sentences quote means and ranges, which people know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tidegauge.baseline import BaselineProfile
from tidegauge.causes.categories import changes_of_categories
from tidegauge.causes.cause import KINDS, Cause, CauseKind
from tidegauge.causes.correlation import broken_correlations
from tidegauge.causes.numbers import changes_of_missing, changes_of_numbers
from tidegauge.causes.scores import change_of_scores
from tidegauge.causes.side import Side, side_of
from tidegauge.drift.results import DriftResult, Measured
from tidegauge.subjects import SubjectKind
from tidegauge.summaries.window_summary import WindowSummary

__all__ = ["KINDS", "Cause", "CauseKind", "Judged", "causes_of"]


class Judged(Protocol):
    """What is asked of a feature's report."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> SubjectKind: ...
    @property
    def tests(self) -> Mapping[str, DriftResult]: ...
    @property
    def drifted(self) -> bool: ...


def causes_of(profile: BaselineProfile, summary: WindowSummary, judged: Sequence[Judged]) -> tuple[Cause, ...]:
    """
    Drifted features by the size of their change, the largest first, each with its changes, the largest first; then
    broken correlations. judged: features, the model's answers, the scores.
    """
    found: list[Cause] = []
    drifted = [report for report in judged if report.drifted]
    for report in sorted(drifted, key=_rank, reverse=True):
        if report.kind == "feature":
            found += _of_feature(side_of(profile, summary, report.name))
        elif report.kind == "prediction":
            found += _of_prediction(report)
        else:
            found.append(change_of_scores(report.name, summary))
    steady = {report.name for report in judged if report.kind == "feature"}.difference(one.name for one in drifted)
    return (*found, *broken_correlations(profile, summary, steady))


def _rank(report: Judged) -> tuple[bool, float]:
    """Scores follow from what else has changed."""
    return report.kind != "scores", _size(report)


def _size(report: Judged) -> float:
    """Every kind of feature has a Jensen-Shannon divergence."""
    divergence = report.tests.get("jensen_shannon")
    return abs(divergence.effect) if isinstance(divergence, Measured) else 0.0


def _of_feature(side: Side) -> list[Cause]:
    changes = changes_of_missing(side)
    if side.values and (side.values_changed or not changes):
        changes += changes_of_categories(side) if side.feature.kind == "categorical" else changes_of_numbers(side)
    return sorted(changes, key=lambda cause: cause.mass, reverse=True)


def _of_prediction(report: Judged) -> list[Cause]:
    measured = [result for result in report.tests.values() if isinstance(result, Measured) and result.drifted]
    return [
        Cause(
            feature=report.name,
            kind="prediction",
            effect=result.effect,
            unit=result.unit,
            sentence=f"{report.name}: the model's answers changed by {abs(result.effect):.2g} {result.unit}",
        )
        for result in measured[-1:]
    ]
