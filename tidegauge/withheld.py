"""What the monitor wishes not to know: features and answers that are redacted are not judged, and it is said why."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import orjson

from tidegauge.descriptive import RANGES
from tidegauge.json_texts import Unread
from tidegauge.statistics import NAMES


@functools.lru_cache(maxsize=256)
def statistics_withheld(own: Sequence[str], why: str) -> Unread:
    """
    What stands in the place of withheld values, missing ones or tokens, is not counted. own: names of the user's own
    statistics.
    """
    not_measured = {"measured": False, "why": why}
    nothing = dict.fromkeys(NAMES) | {"count": 0, "missing": 0, "weight": 0.0, "own": dict.fromkeys(own, not_measured)}
    return Unread(orjson.dumps(nothing | {"range": dict.fromkeys(RANGES, not_measured)}))
