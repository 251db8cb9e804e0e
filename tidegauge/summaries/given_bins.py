"""Histograms on edges that the monitor gives, beside the baseline's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegauge.summaries.bin_counts import BinCounts
from tidegauge.summaries.window_rows import WindowRows


@dataclass(frozen=True)
class GivenBins:
    """
    edges: inner edges by feature. bins: one column per feature of `edges`, in its order; None where the monitor's edges
    were changed within the window. Features that are no quantities, or that the baseline does not know, are left out.
    """

    edges: Mapping[str, tuple[float, ...]]
    bins: BinCounts | None

    @classmethod
    def of(cls, data: WindowRows) -> GivenBins:
        names = [data.profile.schema.names[position] for position in data.quantities]
        edges = {name: data.statistics.bins[name] for name in names if name in data.statistics.bins}
        positions = [data.profile.schema.index[name] for name in edges]
        columns = [np.array(inner) for inner in edges.values()]
        if not columns:
            return cls({}, BinCounts(np.zeros(0, dtype=np.int64), (0,)))
        return cls(edges, BinCounts.of_columns(columns, data.matrix[:, positions], data.weights))

    def merge(self, other: GivenBins) -> GivenBins:
        """Exact, commutative and associative."""
        if self.bins is None or other.bins is None or self.edges != other.edges:
            return GivenBins({}, None)
        return GivenBins(self.edges, self.bins.merge(other.bins))

    def to_state(self) -> dict[str, Any]:
        bins = None if self.bins is None else self.bins.to_state()
        return {"edges": [[name, list(edges)] for name, edges in self.edges.items()], "bins": bins}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> GivenBins:
        bins = None if state["bins"] is None else BinCounts.from_state(state["bins"])
        return cls({name: tuple(edges) for name, edges in state["edges"]}, bins)
