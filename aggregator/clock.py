"""The clock that the aggregator's pure parts are given."""

from __future__ import annotations

import time


def clock_ms() -> int:
    """UTC epoch."""
    return time.time_ns() // 1_000_000
