"""The facts of one served request, gathered as it goes: all that its record will be made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from tidegauge.features import Matrix


@dataclass(frozen=True, slots=True)
class Scored:
    """
    matrix: float64 (rows, features), NaN = missing. scores, p_values ("combined" too), outlier, top: as
    tidegauge.scoring.ScoredRows has them, as lists with one entry a row.
    """

    matrix: Matrix
    scores: dict[str, list[float]]
    p_values: dict[str, list[float]]
    outlier: list[bool]
    top: list[list[tuple[str, float]]]


@dataclass(slots=True, kw_only=True, eq=False)
class ServedRequest:
    """started: perf_counter seconds at arrival, which is when the whole request had been read."""

    id: str
    seq: int
    time_ms: int
    started: float
    protocol: str
    body: bytes
    encoded: bool = False
    binary: bool = False
    traceparent: str | None = None

    scored: Scored | None = None
    issues: dict[str, int] = field(default_factory=dict)

    status: int = 0
    upstream_s: float = 0.0
    latency_s: float = 0.0
    answer: bytes | None = b""
    """The answer's body; None for one too long to keep."""
    answer_encoded: bool = False
    answer_cut: bool = False
    """It ended before it was whole."""
