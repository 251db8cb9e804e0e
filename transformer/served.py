"""The facts of one served request, gathered as it goes: all that its record will be made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from tidegauge.features import Matrix
from transformer.parse import Columns, Readable

_OF_COLUMNS: Final = ("unknown_feature", "missing_feature", "wrong_width")
"""Issues of named columns as a whole: every slice of them has the same, and they are counted once."""


@dataclass(slots=True)
class Scored:
    """
    Not frozen, since there is one a request and that would take longer; nobody changes one.

    matrix: float64 (rows, features), NaN = missing. scores, p_values ("combined" too), outlier, top: as
    tidegauge.scoring.ScoredRows has them, as lists with one entry a row.
    """

    matrix: Matrix
    scores: dict[str, list[float]]
    p_values: dict[str, list[float]]
    outlier: list[bool]
    top: list[list[tuple[str, float]]]


@dataclass(slots=True)
class Remainder:
    """What is still to be scored of a request. content: None while it is not read. start: rows before it are scored."""

    content: Readable | None = None
    start: int = 0
    issues: Counter[str] = field(default_factory=Counter)
    _whole: Scored | None = None
    """Its matrix has room for all rows; its lists grow."""

    def add(self, part: Scored, issues: Mapping[str, int]) -> None:
        """The next slice; to be called when the content is known."""
        assert self.content is not None
        stop = self.start + len(part.matrix)
        if self._whole is None:
            room = np.empty((len(self.content), part.matrix.shape[1]))
            self._whole = Scored(room, part.scores, part.p_values, part.outlier, part.top)
        else:
            for name, values in part.scores.items():
                self._whole.scores[name] += values
            for name, values in part.p_values.items():
                self._whole.p_values[name] += values
            self._whole.outlier.extend(part.outlier)
            self._whole.top.extend(part.top)
        self._whole.matrix[self.start : stop] = part.matrix
        self.start = stop
        self._count(issues)

    @property
    def scored(self) -> Scored | None:
        """Of the rows before `start`."""
        return None if self._whole is None else replace(self._whole, matrix=self._whole.matrix[: self.start])

    def _count(self, issues: Mapping[str, int]) -> None:
        columns = isinstance(self.content, Columns)
        for kind, number in issues.items():
            if columns and kind in _OF_COLUMNS:
                self.issues[kind] = max(self.issues[kind], number)
            else:
                self.issues[kind] += number


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
    binary: bytes | None = None
    """The header inference-header-content-length."""
    traceparent: str | None = None
    read_as: str | None = None
    """The protocol of the body, where it is not the request's own but what a wrapped transformer made of it."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """Those that the monitor lists."""
    raw: bytes | None = None
    """The client's body, as much of it as the record may have; None where the monitor does not ask for it."""
    raw_bytes: int = 0
    """Length of the whole."""

    is_pending: bool = False
    """It is still to be scored."""
    rows: int = 0
    """How many there are, as far as they could be read."""
    scored: Scored | None = None
    """Of the first rows, and of all when nothing remains."""
    remainder: Remainder | None = None
    late: int = 0
    """Rows that were left to be scored after the answer, 1 where it was not known how many."""
    issues: dict[str, int] = field(default_factory=dict)

    status: int = 0
    rejected: bool = False
    """The client got our 422 and not what the predictor answered."""
    upstream_s: float = 0.0
    latency_s: float = 0.0
    answer: bytes | None = b""
    """The answer's body; None for one too long to keep."""
    answer_encoded: bool = False
    answer_binary: bytes | None = None
    """Its header inference-header-content-length."""
    answer_cut: bool = False
    """It ended before it was whole."""
