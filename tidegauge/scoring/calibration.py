"""
Scores turned into p-values that mean what they say, by reference rows that no detector was fitted on.

Split-conformal p-values (Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World", section 2.2;
Bates et al. 2023, "Testing for outliers with conformal p-values", Annals of Statistics 51): with n held-out scores c,
p = (1 + #{c >= s}) / (n + 1), ties counted, so a normal row has p <= alpha with probability at most alpha. Beyond the
sample a generalised Pareto tail goes on (Pickands 1975, Annals of Statistics 3).

Detectors are made comparable first: Surprise maps a detector's score to -log of its survival function on the rows it
was fitted on, which is any fixed increasing map as far as validity is concerned. The combined verdict is the conformal
p-value of the largest surprise: a fault that only one detector sees is not diluted by the others.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import InvalidBaseline

Array = NDArray[np.float64]

Status = Literal["calibrated", "coarse", "extrapolated", "refused"]

MAP_KNOTS: Final = 256
EXACT_LARGEST: Final = 1000
"""Largest held-out scores kept one by one; below them a grid is enough, where p-values are large."""
LOWER_KNOTS: Final = 256
TAIL_VALUES: Final = 60
"""Largest scores that a Pareto tail is fitted to."""
TAIL_BELOW: Final = 10
"""The Pareto tail answers where fewer than this many held-out scores are larger."""


@dataclass(frozen=True)
class ParetoTail:
    """P(X > x | X > threshold) = (1 + shape (x - threshold) / scale) ** (-1 / shape), shape >= 0."""

    threshold: float
    scale: float
    shape: float
    exceedance: float
    """P(X > threshold) in the sample."""

    @classmethod
    def fit(cls, ordered: Array, n: int) -> ParetoTail | None:
        """
        By probability-weighted moments (Hosking and Wallis 1987, Technometrics 29, section 4). ordered: the largest
        of a sample of n, increasing. None where the sample has no tail to speak of. A negative shape, an end point, is
        not believed.
        """
        values = ordered[-min(TAIL_VALUES, n // 2) :]
        if len(values) < 10:
            return None
        threshold = float(values[0])
        excess = values[1:] - threshold
        m = len(excess)
        first = float(excess.mean())
        second = float((excess * (1 - (np.arange(1, m + 1) - 0.35) / m)).mean())
        if first <= 0 or second <= 0:
            return None
        shape = 2.0 - first / (first - 2 * second) if first > 2 * second else 0.0
        shape = min(max(shape, 0.0), 0.9)
        return cls(threshold, first * (1 - shape), shape, m / (n + 1.0))

    def surprise(self, value: float) -> float:
        """-log P(X > x | X > threshold), in nats; 0 up to the threshold."""
        excess = min(max(value - self.threshold, 0.0) / self.scale, sys.float_info.max)
        return excess if self.shape < 1e-9 else math.log1p(self.shape * excess) / self.shape

    def survival(self, value: float) -> float:
        """P(X > x) beyond the threshold, never 0."""
        return max(self.exceedance * math.exp(-self.surprise(value)), 1e-300)


@dataclass(frozen=True)
class Surprise:
    """
    -log P(score >= s) on a detector's own fitting rows: interpolated between knots, and from the tail's threshold on
    by a Pareto tail, so that the surprises of rows beyond the sample are spread as a tail is, and the p-value of a
    combination can be extrapolated from them.

    scores: strictly increasing. surprise: of the same length, increasing, in nats. tail: None where the sample has
    none; then surprise grows logarithmically beyond the largest score.
    """

    scores: Array
    surprise: Array
    tail: ParetoTail | None

    @classmethod
    def fit(cls, scores: Array) -> Surprise:
        ordered = np.sort(scores)
        n = len(ordered)
        ranks = np.unique(np.rint(n / (1 + np.exp(-np.log(n) * np.linspace(-1, 1, MAP_KNOTS)))).astype(int) - 1)
        knots = np.unique(ordered[np.clip(ranks, 0, n - 1)])
        at_least = n - np.searchsorted(ordered, knots, side="left")
        return cls(knots, -np.log((at_least + 1.0) / (n + 1.0)), ParetoTail.fit(ordered, n))

    def __call__(self, scores: Array) -> Array:
        interval = np.maximum(self.scores.searchsorted(scores, side="right") - 1, 0)
        surprises = self.surprise.take(interval)
        surprises += self._slopes.take(interval) * (np.maximum(scores, self.scores[0]) - self.scores.take(interval))
        for position in np.flatnonzero(scores > self._joint).tolist():
            surprises[position] = self._beyond(float(scores[position]))
        return surprises

    def of_one(self, score: float) -> float:
        """The same, to the last bit, for one score."""
        if score > self._joint:
            return self._beyond(score)
        knots, surprises, slopes = self._lists
        interval = max(bisect_right(knots, score) - 1, 0)
        return surprises[interval] + slopes[interval] * (max(score, knots[0]) - knots[interval])

    def _beyond(self, score: float) -> float:
        """Scalar in either case: numpy's logarithms may differ from the standard library's in the last bit."""
        extended = math.log1p(score - self._joint) if self.tail is None else self.tail.surprise(score)
        return self._at_joint + extended

    @cached_property
    def _slopes(self) -> Array:
        return np.append(np.diff(self.surprise) / np.diff(self.scores), 0.0)

    @cached_property
    def _lists(self) -> tuple[list[float], list[float], list[float]]:
        return self.scores.tolist(), self.surprise.tolist(), self._slopes.tolist()

    @cached_property
    def _joint(self) -> float:
        return float(self.scores[-1]) if self.tail is None else self.tail.threshold

    @cached_property
    def _at_joint(self) -> float:
        return float(np.interp(self._joint, self.scores, self.surprise))


@dataclass(frozen=True)
class HeldOut:
    """
    The held-out scores of one detector, or of the combination, as surprises.

    n: how many there were. largest: the largest of them, increasing, at most EXACT_LARGEST. knots, at_least: for the
    rest, values and how many of all n are >= each; a score between two knots gets the count of the lower, which errs
    towards a larger p.
    """

    n: int
    largest: Array
    knots: Array
    at_least: Array

    @classmethod
    def fit(cls, surprises: Array) -> HeldOut:
        ordered = np.sort(surprises)
        n = len(ordered)
        rest = ordered[: max(n - EXACT_LARGEST, 0)]
        knots = np.unique(rest[np.linspace(0, len(rest) - 1, LOWER_KNOTS).astype(int)]) if len(rest) else rest
        at_least = (n - np.searchsorted(ordered, knots, side="left")).astype(np.float64)
        return cls(n, ordered[len(rest) :], knots, at_least)

    def p_values(self, surprises: Array) -> Array:
        """In (0, 1]."""
        thresholds, p_values = self.steps
        return p_values.take(thresholds.searchsorted(surprises, side="right"))

    @cached_property
    def steps(self) -> tuple[Array, Array]:
        """The p-value as a step function: thresholds, and the values below the first and from each of them on."""
        # Ties count: the count falls just above each of the largest.
        thresholds = np.concatenate([self.knots, np.nextafter(self.largest, np.inf)])
        counts = np.concatenate([[self.n], self.at_least, np.arange(len(self.largest) - 1, -1, -1)])
        return thresholds, (1.0 + counts) / (self.n + 1.0)

    def status(self, false_alarm_rate: float) -> Status:
        """How far the sample carries the rate: calibrated from 10 / rate rows on, refused below 0.1 / rate."""
        expected = self.n * false_alarm_rate
        if expected >= 10:
            return "calibrated"
        if expected >= 1:
            return "coarse"
        return "extrapolated" if expected >= 0.1 else "refused"


class Calibration:
    """P-values of surprises: the sample where it speaks, the Pareto tail beyond."""

    def __init__(self, held_out: HeldOut) -> None:
        self.held_out = held_out
        self._tail = ParetoTail.fit(held_out.largest, held_out.n)
        self._handover = TAIL_BELOW / (held_out.n + 1.0)
        self._thresholds, self._p_values = (values.tolist() for values in held_out.steps)
        rare = held_out.steps[1] < (self._handover if self._tail else 0.0)
        self._rare_from = len(rare) - int(rare.sum())

    def p_values(self, surprises: Array) -> Array:
        """In (0, 1], not increasing in the surprise."""
        p_values = self.held_out.p_values(surprises)
        if self._tail is not None:
            for position in np.flatnonzero(p_values < self._handover).tolist():
                p_values[position] = self._beyond(float(surprises[position]))
        return p_values

    def p_value(self, surprise: float) -> float:
        """The same, to the last bit, for one surprise."""
        step = bisect_right(self._thresholds, surprise)
        return self._p_values[step] if step < self._rare_from else self._beyond(surprise)

    def _beyond(self, surprise: float) -> float:
        assert self._tail is not None
        return min(self._tail.survival(surprise), self._handover)


def surprise_to_document(surprise: Surprise) -> dict[str, object]:
    return {
        "scores": surprise.scores.tolist(),
        "surprise": surprise.surprise.tolist(),
        "tail": asdict(surprise.tail) if surprise.tail else None,
    }


def held_out_to_document(held_out: HeldOut) -> dict[str, object]:
    return {
        "n": held_out.n,
        "largest": held_out.largest.tolist(),
        "knots": held_out.knots.tolist(),
        "at_least": held_out.at_least.astype(int).tolist(),
    }


def surprise_from_document(document: Any) -> Surprise:
    """Raises InvalidBaseline."""
    try:
        scores, surprise = (np.array(document[name], dtype=float) for name in ("scores", "surprise"))
        if not len(scores) or scores.shape != surprise.shape:
            raise ValueError("scores and surprise differ in length")
        tail = document["tail"]
        return Surprise(scores, surprise, ParetoTail(**{k: float(v) for k, v in tail.items()}) if tail else None)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidBaseline(f"calibration: {error!r}") from error


def held_out_from_document(document: Any) -> HeldOut:
    """Raises InvalidBaseline."""
    try:
        arrays = {name: np.array(document[name], dtype=float) for name in ("largest", "knots", "at_least")}
        if not len(arrays["largest"]) or arrays["knots"].shape != arrays["at_least"].shape:
            raise ValueError("knots and at_least differ in length")
        return HeldOut(int(document["n"]), **arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidBaseline(f"calibration: {error!r}") from error
