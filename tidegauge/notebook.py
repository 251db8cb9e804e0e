"""Windows judged where there is no traffic: a notebook's frame, a batch job's table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.blocks import Source
from tidegauge.drift_spec import Drift
from tidegauge.frames import as_source
from tidegauge.kafka_spec import Kafka
from tidegauge.monitor import BaselineRef, ModelMonitor, ModelRef, Windows
from tidegauge.own_checks import check_own
from tidegauge.report import WindowReport
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.window_summary import WindowSummary, summarise_matrix
from tidegauge.verdict import judge as judge_window
from tidegauge.windows import Window

DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class Policy:
    """What to judge by. windows: how often a frame is judged, for the budget; once a day by default."""

    name: str = "batch"
    version: str = "1"
    drift: Drift = field(default_factory=Drift)
    windows: Windows = field(default_factory=lambda: Windows(duration_ms=DAY_MS, slide_ms=DAY_MS))
    statistics: Statistics = field(default_factory=lambda: Statistics(top_categories=1000))


def judge(
    frame: object,
    profile: BaselineProfile,
    policy: Policy | ModelMonitor | None = None,
    *,
    predictions: Sequence[Any] | NDArray[Any] | None = None,
    start_ms: int = 0,
) -> WindowReport:
    """
    The verdict on all rows of a frame as one window. frame: anything that BaselineProfile.fit takes, with the profile's
    columns; others are ignored. predictions: what the model answered to its rows, in their order. start_ms: when the
    window began, for the report alone.

    Rows are taken to be independent: nothing is known of earlier windows. Raises InvalidBaseline for a frame that does
    not have the profile's features, ValueError for another number of predictions than rows, and InvalidExtension for a
    test or a statistic of the user's own that does not do what it must; one that a notebook defines has the name
    "__main__:NAME".
    """
    monitor = policy if isinstance(policy, ModelMonitor) else _monitor(policy or Policy())
    check_own(monitor.drift, monitor.statistics)
    source: Source = frame if hasattr(frame, "blocks") else as_source(frame, profile.schema)  # type: ignore[assignment]
    summary = reduce(WindowSummary.merge, _summaries(source, profile, monitor.statistics, predictions))
    return judge_window(
        monitor=monitor,
        profile=profile,
        version=monitor.model.version,
        window=Window(start_ms, start_ms + monitor.windows.duration_ms),
        summary=summary,
    )


def _monitor(policy: Policy) -> ModelMonitor:
    return ModelMonitor(
        name=policy.name,
        namespace="default",
        inference_service=policy.name,
        model=ModelRef(policy.name, policy.version),
        baseline=BaselineRef(file=""),
        kafka=Kafka(""),
        windows=policy.windows,
        drift=policy.drift,
        statistics=policy.statistics,
    )


def _summaries(
    source: Source,
    profile: BaselineProfile,
    statistics: Statistics,
    predictions: Sequence[Any] | NDArray[Any] | None,
) -> Iterator[WindowSummary]:
    """The first one is of no rows, so that there is one."""
    features = len(profile.schema)
    yield summarise_matrix(np.empty((0, features)), profile, statistics=statistics)
    read = 0
    for block in source.blocks():
        matrix = block.columns[:features].T
        answers = None if predictions is None else predictions[read : read + len(matrix)]
        read += len(matrix)
        yield summarise_matrix(matrix, profile, predictions=answers, statistics=statistics)
    if predictions is not None and len(predictions) > read:
        raise ValueError(f"{len(predictions)} predictions for {read} rows")
