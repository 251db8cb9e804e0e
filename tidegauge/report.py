"""The verdict on one closed window as it is published: WindowReport, its key and its document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import orjson

from tidegauge.baseline import BaselineProfile
from tidegauge.budget import Spending
from tidegauge.causes.cause import Cause
from tidegauge.drift.results import DriftResult, Measured
from tidegauge.drift.window_bins import FeatureBins
from tidegauge.subjects import SubjectKind
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.summaries.served_account import Completeness
from tidegauge.versus import Versus
from tidegauge.windows import Window

VERSION: Final = 1

Verdict: TypeAlias = Literal["drift", "no_drift", "learning", "unknown"]
"""unknown: no test could be made. learning: only fixed thresholds tell, as the traffic's variation is not known."""


@dataclass(frozen=True)
class FeatureReport:
    """
    statistics: as tidegauge.statistics has them, None where the values do not give one. Categories have counts only:
    their codes are no quantities. tests: the deciding ones first.
    kind: the model's answers and the outlier scores are judged as features are.
    dispersion: how much more the feature varies between windows than independent rows would, >= 1: what its tests are
    scaled by; None while it is being learnt.
    withheld: why the monitor does not wish its values to be known; None where it does.
    """

    name: str
    statistics: Mapping[str, Any]
    tests: Mapping[str, DriftResult]
    dispersion: Mapping[str, float] | None = None
    kind: SubjectKind = "feature"
    withheld: str | None = None

    @cached_property
    def drifted(self) -> bool:
        return any(isinstance(result, Measured) and result.drifted for result in self.tests.values())

    @property
    def log_p_value(self) -> float:
        """Natural logarithm of the smallest p-value of the tests that may decide by it."""
        return min(
            (
                result.log_p_value
                for result in self.tests.values()
                if isinstance(result, Measured) and result.threshold is not None
            ),
            default=0.0,
        )


@dataclass(frozen=True)
class WindowReport:
    """The verdict on one closed window. Writing it twice under its key is writing it once."""

    monitor: str
    model: str
    version: str
    baseline: str
    window: Window
    revision: int
    requests: RequestCounts
    completeness: Completeness
    features: tuple[FeatureReport, ...]
    spending: Spending
    statistics: Mapping[str, Any]
    """Of the window as a whole, as tidegauge.statistics has them."""
    predictions: tuple[FeatureReport, ...] = ()
    """Of the model's outputs; their statistics are the window's."""
    scores: FeatureReport | None = None
    """Of the combined p-values, which all detectors' scores come to; None where no row was scored."""
    joint: Mapping[str, DriftResult] = field(default_factory=dict)
    """What of several features no single one shows."""
    causes: tuple[Cause, ...] = ()
    """What has changed and how, the largest change first."""
    versus: Versus | None = None
    """How it differs from another model version's window of the same time, where two versions served."""
    profile: BaselineProfile | None = field(default=None, repr=False, compare=False)
    """What the window was compared with, for pictures; no part of the document."""
    bins: Sequence[FeatureBins] = field(default=(), repr=False, compare=False)
    """What was tested, for memory.remember; no part of the document."""

    @cached_property
    def key(self) -> str:
        return "/".join(
            (
                self.monitor,
                self.version,
                self.baseline[:12],
                str(self.window.start_ms),
                str(self.window.duration_ms),
                str(self.revision),
            )
        )

    @property
    def judged(self) -> tuple[FeatureReport, ...]:
        """All that may have drifted: features, the model's answers, the scores. Their names are different."""
        return (*self.features, *self.predictions, *([] if self.scores is None else [self.scores]))

    @cached_property
    def drifted(self) -> list[str]:
        """Of `judged`, by name, the least probable first."""
        drifted = [one for one in self.judged if one.drifted]
        return [one.name for one in sorted(drifted, key=lambda one: one.log_p_value)]

    @cached_property
    def drifted_features(self) -> list[str]:
        """Least probable first."""
        features = {feature.name for feature in self.features}
        return [name for name in self.drifted if name in features]

    @property
    def verdict(self) -> Verdict:
        if self.drifted:
            return "drift"
        if self.spending.state == "learning":
            return "learning"
        measured = any(isinstance(result, Measured) for one in self.judged for result in one.tests.values())
        return "no_drift" if measured else "unknown"

    def to_document(self) -> dict[str, Any]:
        """As docs/schemas/window-report.v1.json says."""
        drifted = self.drifted_features
        return {
            "v": VERSION,
            "kind": "report",
            "monitor": self.monitor,
            "model": self.model,
            "version": self.version,
            "baseline": self.baseline,
            "window": {
                "start_ms": self.window.start_ms,
                "end_ms": self.window.end_ms,
                "duration_ms": self.window.duration_ms,
            },
            "revision": self.revision,
            "verdict": self.verdict,
            "drifted": bool(self.drifted),
            "drifted_features": drifted,
            "worst_feature": drifted[0] if drifted else None,
            "requests": self.requests.requests,
            "statuses": dict(self.requests.statuses),
            "issues": dict(self.requests.issues),
            "outliers": _outliers(self.requests),
            "completeness": {
                "seen": self.completeness.seen,
                "served": self.completeness.served,
                "share": self.completeness.share,
            },
            "account": {
                "sampled_out": self.completeness.sampled_out,
                "spooled": self.completeness.spooled,
                "duplicates": self.completeness.duplicates,
                "unaccounted": self.completeness.unaccounted,
            },
            "budget": asdict(self.spending),
            "statistics": dict(self.statistics),
            "causes": [cause.to_document() for cause in self.causes],
            "versus": None if self.versus is None else _versus_to_document(self.versus),
            "features": [_feature_to_document(feature) for feature in self.features],
            "predictions": [_judged_to_document(output) for output in self.predictions],
            "predictions_not_measured": self.why_no_predictions,
            "joint": self._joint_to_document(),
        }

    def _joint_to_document(self) -> dict[str, Any]:
        scores = None if self.scores is None else _judged_to_document(self.scores)
        return {"scores": scores, **{name: _result_to_document(result) for name, result in self.joint.items()}}

    @property
    def why_no_predictions(self) -> str | None:
        """Why none was judged; None where some were."""
        if self.predictions:
            return None
        if self.profile is None or self.profile.prediction_schema is None:
            return "the baseline has no predictions: fit it with them"
        return "the window was summarised by a program that did not count predictions"

    def __str__(self) -> str:
        from tidegauge.report_text import text_of  # noqa: PLC0415 - it needs this module

        return text_of(self)

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self) -> str:
        """A page of its own: nothing to fetch, no script, light and dark."""
        from tidegauge.report_page import page_of  # noqa: PLC0415 - it needs this module

        return page_of(self)

    def encode(self) -> bytes:
        return orjson.dumps(self.to_document())


def _feature_to_document(feature: FeatureReport) -> dict[str, Any]:
    return {**_judged_to_document(feature), "statistics": dict(feature.statistics)}


def _judged_to_document(judged: FeatureReport) -> dict[str, Any]:
    return {
        "name": judged.name,
        "drifted": judged.drifted,
        "dispersion": None if judged.dispersion is None else dict(judged.dispersion),
        "tests": {name: _result_to_document(result) for name, result in judged.tests.items()},
        **({} if judged.withheld is None else {"withheld": judged.withheld}),
    }


def _outliers(requests: RequestCounts) -> dict[str, Any]:
    sums = requests.weighted()
    rate = sums["flagged"] / sums["rows"] if requests.rows else None
    return {"rows": requests.rows, "flagged": requests.flagged, "rate": rate}


def _versus_to_document(versus: Versus) -> dict[str, Any]:
    return {
        "version": versus.version,
        "requests": versus.requests.requests,
        "statuses": dict(versus.requests.statuses),
        "outliers": _outliers(versus.requests),
        "differing_features": versus.differing,
        "features": [
            {"name": name, "tests": {test: _result_to_document(result) for test, result in results.items()}}
            for name, results in versus.tests.items()
        ],
    }


def _result_to_document(result: DriftResult) -> dict[str, Any]:
    if not isinstance(result, Measured):
        return {"measured": False, "why": result.why}
    rule = result.rule
    return {
        "measured": True,
        "statistic": result.statistic,
        "p_value": None if math.isnan(result.log_p_value) else result.p_value,
        "threshold": result.threshold,
        "effect": result.effect,
        "unit": result.unit,
        "fixed_threshold": result.fixed,
        "drifted": rule is not None,
        "rule": rule,
    }
