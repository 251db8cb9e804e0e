"""How many of the model's answers fell in each of the baseline's bins, output by output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidegauge.errors import IncompatibleSummaries
from tidegauge.features import FeatureSchema, FeatureSpec, coerce_columns
from tidegauge.reference import FeatureReference
from tidegauge.summaries.bin_counts import BinCounts
from tidegauge.summaries.predictions import Output, outputs_of_values
from tidegauge.summaries.window_rows import WindowRows


@dataclass(frozen=True)
class PredictionBins:
    """outputs: one per output of the baseline, each of a single column; what an answer lacks is not counted."""

    outputs: tuple[BinCounts, ...]

    @classmethod
    def of(cls, data: WindowRows) -> PredictionBins:
        schema = data.profile.prediction_schema
        if schema is None:
            return cls(())
        of_matrix = outputs_of_values(data.predictions, schema.names, data.weights)
        answered = data.records.outputs(data.records.weights()) if len(data.records) else of_matrix
        described = zip(schema.features, data.profile.predictions, answered, strict=True)
        return cls(tuple(_count(feature, reference, output) for feature, reference, output in described))

    def merge(self, other: PredictionBins) -> PredictionBins:
        """Raises IncompatibleSummaries when outputs or grids differ."""
        if len(self.outputs) != len(other.outputs):
            raise IncompatibleSummaries("outputs", len(self.outputs), len(other.outputs))
        return PredictionBins(tuple(one.merge(more) for one, more in zip(self.outputs, other.outputs, strict=True)))

    def to_state(self) -> dict[str, Any]:
        return {"outputs": [output.to_state() for output in self.outputs]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> PredictionBins:
        return cls(tuple(BinCounts.from_state(output) for output in state["outputs"]))


def _count(feature: FeatureSpec, reference: FeatureReference, output: Output) -> BinCounts:
    values = coerce_columns({feature.name: output.values}, FeatureSchema((feature,))).matrix
    return BinCounts.of_columns([reference.edges], values, output.weights)
