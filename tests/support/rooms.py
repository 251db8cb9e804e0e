"""Traffic of doors as their baseline has it."""

from __future__ import annotations

from math import isnan

from tests.support.examples import SCHEMA, make_record, mixed_profile, mixed_rows
from tidegauge.records import InferenceRecord


def usual_records(count: int, *, start_ms: int, every_ms: int) -> list[InferenceRecord]:
    """One row each; heights are missing now and then."""
    colours = SCHEMA.features[1].categories
    records = []
    for number, (height, colour, is_open) in enumerate(mixed_rows(count, seed=5).tolist()):
        row = [None if isnan(height) else height, colours[int(colour)], bool(is_open)]
        records.append(
            make_record(
                id=str(number),
                seq=number + 1,
                time_ms=start_ms + number * every_ms,
                features=[row],
                baseline=mixed_profile().content_id,
            )
        )
    return records
