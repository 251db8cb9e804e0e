"""The parts of a window summary: a new one is a class of the same shape, a field of WindowSummary and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, Self

from tidegauge.summaries.bin_counts import BinCounts
from tidegauge.summaries.cross_moments import CrossMoments
from tidegauge.summaries.given_bins import GivenBins
from tidegauge.summaries.label_counts import LabelCounts
from tidegauge.summaries.measures import Measures
from tidegauge.summaries.moments import Moments
from tidegauge.summaries.own_sums import OwnSums
from tidegauge.summaries.p_value_counts import PValueCounts
from tidegauge.summaries.prediction_bins import PredictionBins
from tidegauge.summaries.quantile_sketches import QuantileSketches
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.summaries.served_account import ServedAccount
from tidegauge.summaries.window_rows import WindowRows


class Summary(Protocol):
    """
    A value: merging gives a new one and changes neither side. Of the same rows in any grouping and order the same
    comes out: exactly for counts, to rounding for floating-point moments.
    """

    @classmethod
    def of(cls, data: WindowRows) -> Self: ...

    def merge(self, other: Self) -> Self:
        """Raises IncompatibleSummaries when the two were built with different parameters."""

    def to_state(self) -> dict[str, Any]:
        """Of what the container takes: JSON values, arrays and bytes."""

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self: ...


SUMMARIES: Final[Mapping[str, type[Summary]]] = {
    "requests": RequestCounts,
    "moments": Moments,
    "bins": BinCounts,
    "account": ServedAccount,
    "quantiles": QuantileSketches,
    "cross": CrossMoments,
    "given": GivenBins,
    "measures": Measures,
    "labels": LabelCounts,
    "p_values": PValueCounts,
    "own": OwnSums,
    "predictions": PredictionBins,
}
