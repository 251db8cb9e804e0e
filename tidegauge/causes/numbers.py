"""How the values of a numeric or boolean feature have changed, and how many of any feature are missing."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from tidegauge.causes.cause import Cause, percent
from tidegauge.causes.side import Side
from tidegauge.causes.units import change_of_unit
from tidegauge.drift.normal_scores import location_scores

SMALLEST_OUTSIDE: Final = 0.02
"""Share of values beyond the baseline's range that is worth a sentence."""

SMALLEST_SHIFT: Final = 0.1
"""Standard deviations."""

SMALLEST_SPREAD: Final = math.log(1.15)
"""The same by the logarithm of the spread's ratio."""

_LOUDEST: Final = 3.0


def changes_of_missing(side: Side) -> list[Cause]:
    before, now = side.missing
    per_row = before * (1 - before) * (1 / max(side.rows, 1.0) + 1 / max(side.reference.rows, 1))
    if abs(now - before) < 0.005 + 3 * math.sqrt(per_row):
        return []
    name = side.feature.name
    return [
        Cause(
            feature=name,
            kind="missing",
            effect=now - before,
            unit="share of rows",
            sentence=f"{name}: missing went from {percent(before)} to {percent(now)} of the rows",
            evidence={"share_before": before, "share_now": now},
            mass=abs(now - before),
        )
    ]


def changes_of_numbers(side: Side) -> list[Cause]:
    """One that says what has become of the values as a whole, and values beyond the baseline's range beside it."""
    # A spread of numbers below 1e-154 is 0: their squares underflow.
    finite = math.isfinite(side.mean) and math.isfinite(side.sd) and bool(side.reference.sd)
    whole = _constant(side) or _no_longer_constant(side) or (change_of_unit(side) if finite else None)
    if whole:
        return [whole]
    outside = _out_of_range(side)
    if outside and (not finite or _others_as_they_were(side)):
        return [outside]
    moved = _moved(side) if finite else _distribution(side)
    return [moved, outside] if outside else [moved]


def _constant(side: Side) -> Cause | None:
    if side.low < side.high or not side.reference.sd:
        return None
    name = side.feature.name
    return Cause(
        feature=name,
        kind="constant",
        effect=abs(side.low - float(side.reference.mean or 0.0)) / side.reference.sd,
        unit="standard deviations",
        sentence=f"{name} is {side.low:.6g} in every row; the baseline has {_range(side)}",
        evidence={"value": side.low, "sd_before": side.reference.sd},
        mass=side.moved,
    )


def _no_longer_constant(side: Side) -> Cause | None:
    if side.reference.low != side.reference.high:
        return None
    name, before = side.feature.name, float(side.reference.mean or 0.0)
    return Cause(
        feature=name,
        kind="no_longer_constant",
        effect=side.moved,
        unit="share of values",
        sentence=f"{name} was always {before:.6g}; now {percent(side.moved)} of the values differ, "
        f"{side.low:.6g} to {side.high:.6g}",
        evidence={"value_before": before, "share_now": side.moved, "low_now": side.low, "high_now": side.high},
        mass=side.moved,
    )


def _out_of_range(side: Side) -> Cause | None:
    below, above = _outside(side)
    share = below + above
    if share < SMALLEST_OUTSIDE:
        return None
    name = side.feature.name
    parts = [
        f"{percent(part)} {where} of the baseline ({limit:.6g})"
        for part, where, limit in (
            (below, "below the smallest value", side.reference.low),
            (above, "above the largest value", side.reference.high),
        )
        if part
    ]
    return Cause(
        feature=name,
        kind="out_of_range",
        effect=share,
        unit="share of values",
        sentence=f"{name}: {' and '.join(parts)}",
        evidence={"below": below, "above": above, "low_now": side.low, "high_now": side.high},
        mass=share,
    )


def _outside(side: Side) -> tuple[float, float]:
    """Nothing of the baseline is in the two open bins."""
    _, now = side.shares
    return float(now[0]), float(now[-1])


def _others_as_they_were(side: Side) -> bool:
    """Whether the values within the baseline's range are distributed as before: a part went elsewhere, no more."""
    before, now = side.shares
    outside = sum(_outside(side))
    if outside > 0.5:
        return False
    within = now[1:-1] / (1 - outside)
    return float(np.abs(within - before[1:-1]).sum()) / 2 < 2 * side.noise + 0.2 * outside


def _moved(side: Side) -> Cause:
    by_scores, by_moments = _by_scores(side), _by_moments(side)
    # Wild values bend the moments, skewed ones the scores: what both say the louder is what it is.
    is_shift = abs(by_scores[0]) + abs(by_moments[0]) >= abs(by_scores[1]) + abs(by_moments[1])
    shift, spread = by_scores
    if abs(shift) < SMALLEST_SHIFT and abs(spread) < SMALLEST_SPREAD:
        return _distribution(side)
    return _shift(side, shift) if is_shift else _spread(side)


def _by_moments(side: Side) -> tuple[float, float]:
    """Bounded, so that one wild value does not shout down what all others say."""
    mean, sd = float(side.reference.mean or 0.0), float(side.reference.sd or 0.0)
    spread = math.log(max(side.sd, 1e-3 * sd) / sd)
    return max(-_LOUDEST, min((side.mean - mean) / sd, _LOUDEST)), max(-_LOUDEST, min(spread, _LOUDEST))


def _by_scores(side: Side) -> tuple[float, float]:
    """Of normal scores, mean 0 and variance 1 in the baseline: the mean, and the logarithm of the spread about it."""
    scores = location_scores(side.reference.counts[:-1])
    assert scores is not None, "a feature that varies has several bins"
    _, now = side.shares
    mean = float(now @ scores)
    return mean, math.log(max(float(now @ (scores - mean) ** 2), 1e-6)) / 2


def _shift(side: Side, shift: float) -> Cause:
    name, before = side.feature.name, float(side.reference.mean or 0.0)
    evidence = {"mean_before": before, "mean_now": side.mean, "shift": shift}
    if side.feature.kind == "boolean":
        sentence = f"{name}: true went from {percent(before)} to {percent(side.mean)} of the values"
    else:
        way = "up" if shift > 0 else "down"
        sentence = (
            f"{name} moved {way} by {abs(shift):.2g} standard deviations: mean {before:.6g} became {side.mean:.6g}"
        )
    return Cause(name, "shift", shift, "standard deviations", sentence, evidence, mass=side.moved)


def _spread(side: Side) -> Cause:
    name, before = side.feature.name, float(side.reference.sd or 0.0)
    ratio = side.sd / before
    word = "wider" if ratio > 1 else "narrower"
    return Cause(
        feature=name,
        kind="spread",
        effect=ratio,
        unit="times",
        sentence=f"{name} spreads {word}: standard deviation {before:.4g} became {side.sd:.4g}",
        evidence={"sd_before": before, "sd_now": side.sd, "ratio": ratio},
        mass=side.moved,
    )


def _distribution(side: Side) -> Cause:
    before, now = side.shares
    at = int(np.abs(now - before).argmax())
    edges = side.reference.edges.tolist()
    low = f"{edges[at - 1]:.6g}" if at else "-inf"
    high = f"{edges[at]:.6g}" if at < len(edges) else "inf"
    name, was, became = side.feature.name, float(before[at]), float(now[at])
    return Cause(
        feature=name,
        kind="distribution",
        effect=side.moved,
        unit="share of values",
        sentence=f"{name}: values from {low} to {high} went from {percent(was)} to {percent(became)}",
        evidence={"share_before": was, "share_now": became, "moved": side.moved},
        mass=side.moved,
    )


def _range(side: Side) -> str:
    return f"{side.reference.low:.6g} to {side.reference.high:.6g}"
