"""The monitor's section `statistics`: what is computed of a window beside what verdicts need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tidegauge.errors import InvalidMonitor
from tidegauge.sections import Section

DEFAULT_PERCENTILES: Final = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)

MOST_EDGES: Final = 200
"""Of one feature: a histogram of more bins outgrows all else that is known of a window."""


@dataclass(frozen=True)
class Statistics:
    percentiles: tuple[float, ...] = DEFAULT_PERCENTILES
    """0 to 100, increasing."""
    covariance: bool = True
    """Covariance and correlation between all pairs of numeric features."""
    bins: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Inner edges, strictly increasing, of a histogram beside the baseline's own: {feature: edges}."""
    top_categories: int = 10
    own: tuple[str, ...] = ()
    """A user's own statistics, "module:Class"."""


def parse_statistics(section: Section) -> Statistics:
    section.only("percentiles", "covariance", "bins", "topCategories", "own")
    default = Statistics()
    bins = section.mapping("bins")
    return Statistics(
        percentiles=_increasing(section.at("percentiles"), section.get("percentiles", list(default.percentiles)), 100),
        covariance=section.boolean("covariance", default.covariance),
        bins={str(name): _increasing(section.at(f"bins.{name}"), edges) for name, edges in bins.items()},
        top_categories=section.integer("topCategories", default.top_categories, low=1),
        own=section.extensions("own", "module:Class"),
    )


def _increasing(path: str, values: object, highest: float | None = None) -> tuple[float, ...]:
    expected = "strictly increasing numbers" + ("" if highest is None else f" from 0 to {highest:g}")
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_EDGES:
        raise InvalidMonitor(path, f"1 to {MOST_EDGES} {expected}", values)
    low, high = (-1e308, 1e308) if highest is None else (0.0, highest)
    numbers = all(type(value) in (int, float) and low <= value <= high for value in values)
    if not numbers or any(b <= a for a, b in pairwise(values)):
        raise InvalidMonitor(path, expected, values)
    return tuple(float(value) for value in values)
