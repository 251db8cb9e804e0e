"""One feature in the drift reference: counts, moments, range, and the bins that windows are compared on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tidegauge.binning import Counts, Edges
from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSpec
from tidegauge.json_texts import joined, numbers
from tidegauge.packing import pack, unpack


@dataclass(frozen=True)
class FeatureReference:
    """
    One feature in the drift reference.

    rows, missing: counts. mean, sd (population), low, high: of the values present; None for categories.
    edges, counts: the drift bins (tidegauge.binning) and how many reference rows fell in each, missing last.
    """

    rows: int
    missing: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    edges: Edges
    counts: Counts

    @cached_property
    def values(self) -> int:
        """Rows with a value."""
        return int(self.counts[:-1].sum())

    @cached_property
    def positions(self) -> Edges | None:
        """The middle of each bin of values; of the two open ones, their edge. None for categories."""
        if self.mean is None or not len(self.edges):
            return None
        return np.concatenate([self.edges[:1], (self.edges[:-1] + self.edges[1:]) / 2, self.edges[-1:]])

    @cached_property
    def edges_text(self) -> bytes:
        """As JSON: every window's report has them."""
        return joined(numbers(self.edges))

    @classmethod
    def of(
        cls,
        feature: FeatureSpec,
        *,
        rows: int,
        present: int,
        moments: tuple[float, float],
        ends: tuple[float, float],
        edges: Edges,
        counts: Counts,
    ) -> FeatureReference:
        """moments: mean and sd. ends: least and greatest value. Both are of no meaning for categories' codes."""
        quantity = feature.kind != "categorical"
        return cls(
            rows=rows,
            missing=rows - present,
            mean=moments[0] if quantity else None,
            sd=moments[1] if quantity else None,
            low=ends[0] if quantity else None,
            high=ends[1] if quantity else None,
            edges=edges,
            counts=counts,
        )


def reference_to_document(reference: FeatureReference) -> dict[str, object]:
    return {
        "rows": reference.rows,
        "missing": reference.missing,
        "mean": reference.mean,
        "sd": reference.sd,
        "low": reference.low,
        "high": reference.high,
        "edges": pack(reference.edges),
        "counts": pack(reference.counts.astype(np.int64)),
    }


def reference_from_document(item: dict[str, Any]) -> FeatureReference:
    reference = FeatureReference(
        **{name: item[name] for name in ("rows", "missing", "mean", "sd", "low", "high")},
        edges=unpack(item["edges"], np.float64),
        counts=unpack(item["counts"], np.int64),
    )
    if len(reference.counts) != len(reference.edges) + 2 or reference.counts.sum() != reference.rows:
        raise InvalidBaseline("damaged profile: bins do not add up to the rows")
    return reference
