"""A feature's bin counts as bars to draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tidegauge.features import FeatureSpec
from tidegauge.reference import FeatureReference

FEW_BINS: Final = 8
MOST_CATEGORIES: Final = 40


@dataclass(frozen=True)
class Bar:
    """label: a category, or the range that it stands for. share: of all rows."""

    label: str
    share: float


def bars_of(spec: FeatureSpec, reference: FeatureReference, *, bars: int) -> list[Bar]:
    """
    Categories, the most frequent first where they are many; of numbers equal stretches of the range, in which a drift
    bin's rows are taken to lie evenly. The range leaves out a bin at either end that is wider than all the others.
    """
    rows = max(reference.rows, 1)
    counts, edges = reference.counts[:-1], reference.edges
    if spec.kind == "categorical":
        named = list(
            zip(map(str, spec.categories), (counts[1 : len(spec.categories) + 1] / rows).tolist(), strict=True)
        )
        named = named if len(named) <= MOST_CATEGORIES else sorted(named, key=lambda one: -one[1])[:MOST_CATEGORIES]
        return [Bar(name, share) for name, share in named]
    if not len(edges):
        return []
    if len(counts) - 2 <= FEW_BINS:
        # Nearly every value has a bin of its own.
        return [
            Bar(f"from {edge:.4g}", share) for edge, share in zip(edges, (counts[1:] / rows).tolist(), strict=False)
        ][:-1]
    low, high = _shown_range(edges)
    stretches = np.linspace(low, high, bars + 1)
    below = np.interp(stretches, edges, np.cumsum(counts[:-1]))
    shares = np.diff(below) / rows
    return [
        Bar(f"{start:.4g} to {end:.4g}", float(share))
        for start, end, share in zip(stretches, stretches[1:], shares, strict=False)
    ]


def _shown_range(edges: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """A single sentinel far away would squeeze all else into one bar."""
    low, high = float(edges[0]), float(edges[-1])
    if len(edges) < 6:
        return low, high
    inner_low, inner_high = float(edges[1]), float(edges[-2])
    inner = inner_high - inner_low
    return (inner_low if inner_low - low > 4 * inner else low), (inner_high if high - inner_high > 4 * inner else high)
