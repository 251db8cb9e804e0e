"""One window's records and heartbeats, as the summaries take them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.features import Matrix, coerce_rows
from tidegauge.records import Heartbeat, InferenceRecord


@dataclass(frozen=True)
class WindowRows:
    """matrix: float64 (rows, features) of all records together, NaN = missing, in the profile's schema."""

    profile: BaselineProfile
    records: Sequence[InferenceRecord]
    heartbeats: Sequence[Heartbeat]
    matrix: Matrix

    @classmethod
    def of(
        cls, records: Sequence[InferenceRecord], heartbeats: Sequence[Heartbeat], profile: BaselineProfile
    ) -> WindowRows:
        rows = [row for record in records if record.features for row in record.features]
        matrix = coerce_rows(rows, profile.schema).matrix if rows else np.empty((0, len(profile.schema)))
        return cls(profile, records, heartbeats, matrix)
