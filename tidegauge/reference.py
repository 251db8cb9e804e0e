"""One feature in the drift reference: counts, moments, range, and the bins that windows are compared on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegauge.binning import Counts, Edges, count_bins, cut_edges
from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, Matrix


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


def reference_of(schema: FeatureSchema, matrix: Matrix, position: int) -> FeatureReference:
    column = matrix[:, position]
    values = column[~np.isnan(column)]
    feature = schema.features[position]
    edges = cut_edges(feature, column)
    quantity = feature.kind != "categorical"
    return FeatureReference(
        rows=len(column),
        missing=len(column) - len(values),
        mean=float(values.mean()) if quantity else None,
        sd=float(values.std()) if quantity else None,
        low=float(values.min()) if quantity else None,
        high=float(values.max()) if quantity else None,
        edges=edges,
        counts=count_bins(edges, column),
    )


def reference_to_document(reference: FeatureReference) -> dict[str, object]:
    return {
        "rows": reference.rows,
        "missing": reference.missing,
        "mean": reference.mean,
        "sd": reference.sd,
        "low": reference.low,
        "high": reference.high,
        "edges": reference.edges.tolist(),
        "counts": reference.counts.tolist(),
    }


def reference_from_document(item: dict[str, Any]) -> FeatureReference:
    reference = FeatureReference(
        **{name: item[name] for name in ("rows", "missing", "mean", "sd", "low", "high")},
        edges=np.array(item["edges"], dtype=np.float64),
        counts=np.array(item["counts"], dtype=np.int64),
    )
    if len(reference.counts) != len(reference.edges) + 2 or reference.counts.sum() != reference.rows:
        raise InvalidBaseline("damaged profile: bins do not add up to the rows")
    return reference
