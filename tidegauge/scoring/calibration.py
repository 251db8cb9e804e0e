"""
Scores turned into p-values that mean what they say, by reference rows that no detector was fitted on.

Split-conformal p-values (Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World", section 2.2;
Bates et al. 2023, "Testing for outliers with conformal p-values", Annals of Statistics 51): with n held-out scores c,
p = (1 + #{c >= s}) / (n + 1), ties counted, so a normal row has p <= alpha with probability at most alpha. Beyond the
sample a generalised Pareto tail goes on (Pickands 1975, Annals of Statistics 3).

Detectors are made comparable first: Surprise maps a detector's score to -log of its survival function on the rows it
was fitted on, which is any fixed increasing map as far as validity is concerned. The combined verdict is the conformal
p-value of what tidegauge.scoring.combination makes of the surprises.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tidegauge.errors import InvalidBaseline
from tidegauge.packing import pack, unpack
from tidegauge.rounding import significant

Array = NDArray[np.float64]

Status = Literal["calibrated", "coarse", "extrapolated", "refused"]

MAP_KNOTS: Final = 256
EXACT_RANKS: Final = 512
"""Largest held-out surprises that are all kept."""
RANK_RATIO: Final = 1.01
"""Below them ranks grow by this ratio: what p-values are at most too large by."""
TAIL_VALUES: Final = 60
"""Largest scores that a Pareto tail is fitted to."""
TAIL_BELOW: Final = 10
"""The Pareto tail answers where fewer than this many held-out scores are larger."""


LARGEST_EXCESS: Final = 1e30
"""In scales of the tail; beyond, values are no longer told apart. Fourth powers of surprises must not overflow."""


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
        fields = significant(np.array([threshold, first * (1 - shape), shape, m / (n + 1.0)]))
        return cls(*fields.tolist())

    def surprise(self, value: float) -> float:
        """-log P(X > x | X > threshold), in nats; 0 up to the threshold."""
        excess = min(max(value - self.threshold, 0.0) / self.scale, LARGEST_EXCESS)
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
        knots = np.unique(significant(ordered[np.clip(ranks, 0, n - 1)]))
        at_least = n - np.searchsorted(ordered, knots, side="left")
        return cls(knots, -np.log((at_least + 1.0) / (n + 1.0)), ParetoTail.fit(ordered, n))

    def __call__(self, scores: Array) -> Array:
        knots, starts, slopes = self._pieces
        piece = self.scores.searchsorted(scores, side="right")
        surprises = starts.take(piece)
        surprises += slopes.take(piece) * (scores - knots.take(piece))
        for position in np.flatnonzero(scores > self._joint).tolist():
            surprises[position] = self._beyond(float(scores[position]))
        return surprises

    @cached_property
    def of_one(self) -> Callable[[float], float]:
        """The same, to the last bit, for one score. A function and not a method: that halves what a call costs."""
        ends, joint, beyond = self.scores.tolist(), self._joint, self._beyond
        knots, starts, slopes = (values.tolist() for values in self._pieces)

        def surprise_of(score: float) -> float:
            if score > joint:
                return beyond(score)
            piece = bisect_right(ends, score)
            return starts[piece] + slopes[piece] * (score - knots[piece])  # type: ignore[no-any-return]

        return surprise_of

    def _beyond(self, score: float) -> float:
        """Scalar in either case: numpy's logarithms may differ from the standard library's in the last bit."""
        extended = math.log1p(score - self._joint) if self.tail is None else self.tail.surprise(score)
        return self._at_joint + extended

    @cached_property
    def _pieces(self) -> tuple[Array, Array, Array]:
        """Of the line below the first score and of the one from each score on: where it starts, at what, its slope."""
        knots, starts = (np.append(values[0], values) for values in (self.scores, self.surprise))
        slopes = np.concatenate([[0.0], np.diff(self.surprise) / np.diff(self.scores), [0.0]])
        return knots, starts, slopes

    @cached_property
    def _joint(self) -> float:
        return float(self.scores[-1]) if self.tail is None else self.tail.threshold

    @cached_property
    def _at_joint(self) -> float:
        return float(np.interp(self._joint, self.scores, self.surprise))


@dataclass(frozen=True)
class HeldOut:
    """
    The surprises of the held-out rows, of one detector or of a combination.

    n: how many there were. values: increasing; some of them. ranks: of the same length, decreasing: how many of all n
    are no smaller, ties counted one after the other. Between two values the rank of the lower one holds, which errs
    towards a larger p; the EXACT_RANKS largest are all there, so among them p is exact.
    """

    n: int
    values: Array
    ranks: Array

    @classmethod
    def fit(cls, surprises: Array) -> HeldOut:
        ordered = np.sort(surprises)
        ranks = _kept_ranks(len(ordered))[::-1]
        return cls(len(ordered), _rounded_up(ordered[len(ordered) - ranks]), ranks.astype(np.float64))

    def p_values(self, surprises: Array) -> Array:
        """In (0, 1]."""
        return self.steps.take(self.values.searchsorted(surprises))

    @cached_property
    def steps(self) -> Array:
        """The p-value of a surprise that i of the values are smaller than, for i = 0 ... len(values)."""
        return np.append(1.0, self.ranks / (self.n + 1.0))

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
        self._tail = ParetoTail.fit(held_out.values, held_out.n)
        self._handover = TAIL_BELOW / (held_out.n + 1.0)
        self._rare = held_out.steps < (self._handover if self._tail else 0.0)

    def p_values(self, surprises: Array) -> Array:
        """In (0, 1], not increasing in the surprise."""
        p_values = self.held_out.p_values(surprises)
        if self._tail is not None:
            for position in np.flatnonzero(p_values < self._handover).tolist():
                p_values[position] = self._beyond(float(surprises[position]))
        return p_values

    @cached_property
    def p_value(self) -> Callable[[float], float]:
        """The same, to the last bit, for one surprise."""
        values, steps = self.held_out.values.tolist(), self.held_out.steps.tolist()
        rare_from, beyond = len(steps) - int(self._rare.sum()), self._beyond

        def p_value_of(surprise: float) -> float:
            step = bisect_left(values, surprise)
            return steps[step] if step < rare_from else beyond(surprise)

        return p_value_of

    def _beyond(self, surprise: float) -> float:
        assert self._tail is not None
        return min(self._tail.survival(surprise), self._handover)


def _kept_ranks(n: int) -> NDArray[np.int64]:
    """From the largest value's, 1, to the smallest's, n."""
    if n <= EXACT_RANKS:
        return np.arange(1, n + 1)
    steps = math.ceil(math.log(n / EXACT_RANKS) / math.log(RANK_RATIO))
    spaced = EXACT_RANKS * (n / EXACT_RANKS) ** (np.arange(1, steps + 1) / steps)
    return np.unique(np.concatenate([np.arange(1, EXACT_RANKS + 1), np.rint(spaced).astype(np.int64)]))


def _rounded_up(values: Array) -> Array:
    """
    To single precision, which halves the profile and hides the last bits that another processor would compute
    otherwise. Never down: a row that ties with held-out rows must count them.
    """
    limit = np.finfo(np.float32).max
    single = np.minimum(values, limit).astype(np.float32)
    return np.where(single < values, np.nextafter(single, np.float32(np.inf)), single).astype(np.float64)


def surprise_to_document(surprise: Surprise) -> dict[str, object]:
    return {
        "scores": pack(surprise.scores),
        "surprise": pack(surprise.surprise),
        "tail": asdict(surprise.tail) if surprise.tail else None,
    }


def held_out_to_document(held_out: HeldOut) -> dict[str, object]:
    return {"n": held_out.n, "values": pack(held_out.values.astype(np.float32))}


def surprise_from_document(document: Any) -> Surprise:
    """Raises InvalidBaseline."""
    try:
        scores, surprise = (unpack(document[name], np.float64) for name in ("scores", "surprise"))
        if not len(scores) or scores.shape != surprise.shape:
            raise ValueError("scores and surprise differ in length")
        tail = document["tail"]
        return Surprise(scores, surprise, ParetoTail(**{k: float(v) for k, v in tail.items()}) if tail else None)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidBaseline(f"calibration: {error!r}") from error


def held_out_from_document(document: Any) -> HeldOut:
    """Raises InvalidBaseline."""
    try:
        n = int(document["n"])
        if "largest" in document:
            return _held_out_of_version_1(n, document)
        values = unpack(document["values"], np.float32).astype(np.float64)
        ranks = _kept_ranks(n)[::-1].astype(np.float64)
        if not n or values.shape != ranks.shape:
            raise ValueError(f"{len(values)} values of {n}")
        return HeldOut(n, values, ranks)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidBaseline(f"calibration: {error!r}") from error


def _held_out_of_version_1(n: int, document: Any) -> HeldOut:
    """There, `knots` had counts that hold from the knot itself on, and the largest followed one by one."""
    largest, knots, at_least = (np.array(document[name], dtype=float) for name in ("largest", "knots", "at_least"))
    if not len(largest) or knots.shape != at_least.shape:
        raise ValueError("knots and at_least differ in length")
    values = np.concatenate([np.nextafter(knots, -np.inf), largest])
    return HeldOut(n, values, np.concatenate([at_least + 1.0, np.arange(len(largest), 0, -1)]))
