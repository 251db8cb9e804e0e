"""The monitor's section `aggregator`: where its reports are kept, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from tidegauge.errors import InvalidMonitor
from tidegauge.sections import Section

SHORTEST_RETENTION_MS = 3_600_000


@dataclass(frozen=True)
class AggregatorSpec:
    store: str = "sqlite:///tidegauge.db"
    """SQLAlchemy URL; a relative SQLite path is relative to the working directory."""
    retention_ms: int | None = None
    """Reports on windows that ended longer ago are deleted from the store; None: never."""
    parquet: str | None = None
    """Directory of Parquet files with the same reports; relative to the working directory."""


def parse_aggregator(section: Section) -> AggregatorSpec:
    section.only("store", "retention", "parquet")
    retention_ms = section.duration_ms("retention", 0) if section.has("retention") else None
    if retention_ms is not None and retention_ms < SHORTEST_RETENTION_MS:
        raise InvalidMonitor(section.at("retention"), "at least 1h", section.get("retention"))
    return AggregatorSpec(section.text("store", AggregatorSpec().store), retention_ms, section.optional_text("parquet"))
