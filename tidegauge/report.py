"""The verdict on one closed window as it is published: WindowReport, its key and its document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import orjson

from tidegauge.baseline import BaselineProfile
from tidegauge.budget import Spending
from tidegauge.causes.cause import Cause
from tidegauge.drift.results import Measured, Results
from tidegauge.drift.window_bins import ComparedBins
from tidegauge.json_texts import Texts
from tidegauge.subjects import SubjectKind
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.summaries.served_account import Completeness
from tidegauge.versus import Versus
from tidegauge.windows import Window

ReportKind: TypeAlias = Literal["report", "drift", "provisional"]
"""drift: what the tests say, without the statistics. provisional: of a window that is still open."""

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
    tests: Results
    dispersion: Mapping[str, float] | None = None
    kind: SubjectKind = "feature"
    withheld: str | None = None

    @property
    def drifted(self) -> bool:
        return self.tests.drifted

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
    joint: Results = field(default_factory=lambda: Results.given({}))
    """What of several features no single one shows."""
    causes: tuple[Cause, ...] = ()
    """What has changed and how, the largest change first."""
    versus: Versus | None = None
    """How it differs from another model version's window of the same time, where two versions served."""
    profile: BaselineProfile | None = field(default=None, repr=False, compare=False)
    """What the window was compared with, for pictures; no part of the document."""
    worst_effects: Mapping[str, float] = field(default_factory=dict, repr=False, compare=False)
    """By test, the largest over the features, whatever its sign; no part of the document."""
    compared: ComparedBins | None = field(default=None, repr=False, compare=False)
    """The bins of all that was judged; no part of the document."""

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

    @cached_property
    def judged(self) -> tuple[FeatureReport, ...]:
        """All that may have drifted: features, the model's answers, the scores. Their names are different."""
        return (*self.features, *self.predictions, *([] if self.scores is None else [self.scores]))

    @cached_property
    def drifted(self) -> list[str]:
        """Of `judged`, by name, the least probable first."""
        return [one.name for one in self._drifted]

    @cached_property
    def drifted_features(self) -> list[str]:
        """Least probable first."""
        return [one.name for one in self._drifted if one.kind == "feature"]

    @cached_property
    def _drifted(self) -> list[FeatureReport]:
        return sorted((one for one in self.judged if one.drifted), key=lambda one: one.log_p_value)

    @property
    def verdict(self) -> Verdict:
        if self.drifted:
            return "drift"
        if self.spending.state == "learning":
            return "learning"
        return "no_drift" if any(one.tests.measured for one in self.judged) else "unknown"

    def to_document(self) -> dict[str, Any]:
        """As docs/schemas/window-report.v1.json says."""
        document: dict[str, Any] = orjson.loads(self.encode())
        return document

    def encode(self, kind: ReportKind = "report") -> bytes:
        """The document as JSON text."""
        from tidegauge.report_document import document_of  # noqa: PLC0415 - it needs this module

        return document_of(self, kind)

    @cached_property
    def judged_texts(self) -> Texts:
        """Of each of `judged` what a document of any kind says."""
        from tidegauge.report_document import texts_of_judged  # noqa: PLC0415 - it needs this module

        return texts_of_judged(self.judged)

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
