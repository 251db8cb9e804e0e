"""
What drift tests answer. "Cannot say" is a type of its own: it is shown, never an alarm and never hidden.

Tests look at many distributions at once, and so do those who read what they found: an answer by itself, Measured or
NotMeasured, is made when it is asked for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from tidegauge.json_texts import GAP, NULL, Form, Texts, numbers

Array: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64] | NDArray[np.float64]

Rule: TypeAlias = Literal["budget", "fixed_threshold"]


class Measured(NamedTuple):
    """
    p_value: of the interval null, that the window is no further from the baseline than what the baseline's own
    uncertainty or the minimum effect allows; NaN where a user's own test gives none. log_p_value: its natural
    logarithm, which ranks what underflows.
    threshold: what a p-value at or below it is drift by; 0 while nothing may be spent, None for a test that does not
    decide so. fixed: size of effect from which the user calls it drift. statistic: the test's own, without unit;
    effect: the size of the change in `unit`.
    """

    statistic: float
    log_p_value: float
    threshold: float | None
    effect: float
    unit: str
    fixed: float | None = None

    @property
    def p_value(self) -> float:
        return math.exp(self.log_p_value)

    @property
    def rule(self) -> Rule | None:
        """By which drift is said; None where it is not."""
        if self.threshold and self.p_value <= self.threshold:
            return "budget"
        if self.fixed is not None and abs(self.effect) >= self.fixed:
            return "fixed_threshold"
        return None

    @property
    def drifted(self) -> bool:
        return self.rule is not None


@dataclass(frozen=True, slots=True)
class NotMeasured:
    why: str


DriftResult: TypeAlias = Measured | NotMeasured


@dataclass(frozen=True, slots=True)
class ChiSquaredTail:
    """The non-central distribution whose tails at the statistics are the p-values. Arrays with an entry per feature."""

    df: NDArray[np.int64]
    noncentrality: Array


Reasons: TypeAlias = Mapping[int, NotMeasured]
"""Of those that cannot be measured, why, by their place."""


@dataclass(frozen=True, slots=True)
class Findings:
    """
    What one test has found, in arrays with an entry per feature; those of a feature with a reason mean nothing. The
    names are Measured's. log_p_value: or the distribution that gives it; the tails of all tests are worked out at once.
    """

    statistic: Array
    log_p_value: Array | ChiSquaredTail
    effect: Array
    unit: str
    why: Reasons


def reasons(places: NDArray[np.bool_], why: NotMeasured) -> Reasons:
    return dict.fromkeys(np.flatnonzero(places).tolist(), why)


def first_reason(*several: Reasons) -> Reasons:
    """The first of each feature's reasons, the most telling ones first."""
    found: dict[int, NotMeasured] = {}
    for some in reversed(several):
        found |= some
    return found


@dataclass(frozen=True)
class Answers:
    """
    One test's answers, as Findings has them. threshold: None for a test that does not decide by it. fixed: NaN where
    there is none.
    """

    statistic: Array
    log_p_value: Array
    effect: Array
    unit: str
    threshold: Array | None
    fixed: Array
    why: Reasons

    @classmethod
    def of(cls, results: Sequence[DriftResult]) -> Answers:
        """Of one test, which gives all of them one unit, and all of them a threshold or none."""
        none = Measured(math.nan, math.nan, None, math.nan, "")
        measured = [result if isinstance(result, Measured) else none for result in results]
        decides = any(result.threshold is not None for result in measured)
        return cls(
            statistic=np.array([result.statistic for result in measured]),
            log_p_value=np.array([result.log_p_value for result in measured]),
            effect=np.array([result.effect for result in measured]),
            unit=max(result.unit for result in measured),
            threshold=np.array([result.threshold or 0.0 for result in measured]) if decides else None,
            fixed=np.array([math.nan if result.fixed is None else result.fixed for result in measured]),
            why={at: result for at, result in enumerate(results) if isinstance(result, NotMeasured)},
        )

    def __getitem__(self, at: int) -> DriftResult:
        if at in self.why:
            return self.why[at]
        fixed = float(self.fixed[at])
        return Measured(
            float(self.statistic[at]),
            float(self.log_p_value[at]),
            None if self.threshold is None else float(self.threshold[at]),
            float(self.effect[at]),
            self.unit,
            None if math.isnan(fixed) else fixed,
        )

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        found = np.ones(len(self.effect), dtype=bool)
        found[list(self.why)] = False
        return found

    @cached_property
    def drifted(self) -> NDArray[np.bool_]:
        return np.asarray((self._by_budget | (np.abs(self.effect) >= self.fixed)) & self.measured)

    @cached_property
    def decisive(self) -> NDArray[np.bool_]:
        """Measured by a test that could have said drift: it may spend something, or has a fixed threshold."""
        may_spend = self._threshold > 0
        return np.asarray((may_spend | np.isfinite(self.fixed)) & self.measured)

    @cached_property
    def texts(self) -> Texts:
        """As they stand in a report."""
        rules = np.where(self._by_budget, b'"budget"', np.where(self.drifted, b'"fixed_threshold"', NULL))
        found = _form(self.unit).fill(
            numbers(self.statistic),
            numbers(self._p_value),
            [NULL] * len(self.effect) if self.threshold is None else numbers(self.threshold),
            numbers(self.effect),
            numbers(self.fixed),
            numbers(self.drifted),
            rules.tolist(),
        )
        for at, why in self.why.items():
            found[at] = orjson.dumps({"measured": False, "why": why.why})
        return found

    @cached_property
    def _p_value(self) -> Array:
        # Not numpy's exp, whose last digit may be another than that of Measured.p_value.
        return np.array([math.exp(log) for log in self.log_p_value.tolist()])

    @property
    def _threshold(self) -> Array | float:
        return 0.0 if self.threshold is None else self.threshold

    @cached_property
    def _by_budget(self) -> NDArray[np.bool_]:
        return np.asarray((self._threshold > 0) & (self._p_value <= self._threshold))


@functools.lru_cache(maxsize=64)
def _form(unit: str) -> Form:
    return Form(
        {
            "measured": True,
            "statistic": GAP,
            "p_value": GAP,
            "threshold": GAP,
            "effect": GAP,
            "unit": unit,
            "fixed_threshold": GAP,
            "drifted": GAP,
            "rule": GAP,
        }
    )


class Outcomes:
    """All tests' answers, by test; as a sequence, each feature's results."""

    def __init__(self, answers: Mapping[str, Answers]) -> None:
        self.answers = answers

    def __len__(self) -> int:
        return len(self.measured)

    def __getitem__(self, at: int) -> Results:
        return Results(self, at)

    def __iter__(self) -> Iterator[Results]:
        return (Results(self, at) for at in range(len(self)))

    def without(self, why: Reasons) -> Outcomes:
        """As if none of these had been measured."""
        if not why:
            return self
        return Outcomes({test: replace(one, why={**one.why, **why}) for test, one in self.answers.items()})

    def largest_effects(self, spans: Sequence[tuple[int, int]]) -> list[dict[str, float]]:
        """Of the features from `start` to `end` of each span, by test: its largest effect, whatever its sign."""
        ends = np.ravel(spans)
        largest = []
        for one in self.answers.values():
            sizes = np.where(one.measured & np.isfinite(one.effect), np.abs(one.effect), -1.0)
            largest.append(np.maximum.reduceat(np.append(sizes, -1.0), ends)[::2].tolist())
        rows = (zip(self.answers, row, strict=True) for row in zip(*largest, strict=True))
        return [{test: effect for test, effect in row if effect >= 0} for row in rows]

    @cached_property
    def measured(self) -> list[bool]:
        return self._any([one.measured for one in self.answers.values()])

    @cached_property
    def drifted(self) -> list[bool]:
        return self._any([one.drifted for one in self.answers.values()])

    @cached_property
    def decisive(self) -> list[bool]:
        return self._any([one.decisive for one in self.answers.values()])

    @cached_property
    def texts(self) -> Texts:
        """Of each feature an object with an entry a test."""
        return Form(dict.fromkeys(self.answers, GAP)).fill(*(one.texts for one in self.answers.values()))

    @staticmethod
    def _any(columns: Sequence[NDArray[np.bool_]]) -> list[bool]:
        found: list[bool] = np.any(columns, axis=0).tolist() if columns else []
        return found


class Results(Mapping[str, DriftResult]):
    """Of one feature, by test."""

    __slots__ = ("_at", "_outcomes")

    def __init__(self, outcomes: Outcomes, at: int) -> None:
        self._outcomes, self._at = outcomes, at

    @classmethod
    def given(cls, results: Mapping[str, DriftResult]) -> Results:
        """Of answers that are there already."""
        return Outcomes({test: Answers.of([result]) for test, result in results.items()})[0]

    def __getitem__(self, test: str) -> DriftResult:
        return self._outcomes.answers[test][self._at]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outcomes.answers)

    def __len__(self) -> int:
        return len(self._outcomes.answers)

    @property
    def measured(self) -> bool:
        """By any test."""
        return self._outcomes.measured[self._at]

    @property
    def drifted(self) -> bool:
        return self._outcomes.drifted[self._at]

    @property
    def decisive(self) -> bool:
        """Whether a test could have said drift: it was measured, and may spend something or has a fixed threshold."""
        return self._outcomes.decisive[self._at]

    @property
    def text(self) -> bytes:
        """As in a report."""
        return self._outcomes.texts[self._at]

    @property
    def texts(self) -> dict[str, bytes]:
        """Each answer by itself."""
        return {test: answers.texts[self._at] for test, answers in self._outcomes.answers.items()}
