"""How a categorical feature has changed."""

from __future__ import annotations

from typing import Final

import numpy as np

from tidegauge.causes.cause import Cause, percent
from tidegauge.causes.side import Side

SMALLEST_UNSEEN: Final = 0.005
"""Share of values: fewer unseen categories explain no drift."""

EXPECTED_TO_SHOW: Final = 10.0
"""A category is gone when this many of it were expected and none came; by chance, once in 20,000."""


def changes_of_categories(side: Side) -> list[Cause]:
    found = [cause for cause in (_new(side), _constant(side) or _vanished(side)) if cause]
    return found or [_shares(side)]


def _new(side: Side) -> Cause | None:
    before, now = (float(shares[0]) for shares in side.shares)
    if now - before < SMALLEST_UNSEEN:
        return None
    name = side.feature.name
    return Cause(
        feature=name,
        kind="new_categories",
        effect=now,
        unit="share of values",
        sentence=f"{name}: {percent(now)} of the values are categories that the baseline does not know",
        evidence={"share_before": before, "share_now": now},
        mass=now - before,
    )


def _constant(side: Side) -> Cause | None:
    before, now = side.shares
    if np.count_nonzero(now) != 1 or np.count_nonzero(before) < 2 or now[0]:
        return None
    at = int(now.argmax())
    name, value = side.feature.name, side.feature.categories[at - 1]
    return Cause(
        feature=name,
        kind="constant",
        effect=float(before[at]),
        unit="share of values before",
        sentence=f"{name} is {value!r} in every row; in the baseline in {percent(float(before[at]))}",
        evidence={"share_before": float(before[at])},
        mass=side.moved,
    )


def _vanished(side: Side) -> Cause | None:
    before, now = side.shares
    gone = np.flatnonzero((now[1:] == 0) & (before[1:] * side.values >= EXPECTED_TO_SHOW))
    if not len(gone):
        return None
    share = float(before[1:][gone].sum())
    names = [repr(side.feature.categories[at]) for at in gone[:3].tolist()]
    more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
    name = side.feature.name
    return Cause(
        feature=name,
        kind="vanished_categories",
        effect=share,
        unit="share of values before",
        sentence=f"{name}: {', '.join(names)}{more} vanished, {percent(share)} of the baseline's values",
        evidence={"categories": float(len(gone)), "share_before": share},
        mass=share,
    )


def _shares(side: Side) -> Cause:
    before, now = side.shares
    at = int(np.abs(now[1:] - before[1:]).argmax()) + 1
    was, became = float(before[at]), float(now[at])
    name, value = side.feature.name, side.feature.categories[at - 1]
    return Cause(
        feature=name,
        kind="category_shares",
        effect=became - was,
        unit="share of values",
        sentence=f"{name}: {value!r} went from {percent(was)} to {percent(became)} of the values",
        evidence={"share_before": was, "share_now": became},
        mass=side.moved,
    )
