"""
Requests that wait for the predictor, read and scored: all that came in one turn of the event loop as one matrix, for no
longer than the budget. What is left over is scored after the answer, by the backlog.

Whatever goes wrong here ends as an issue of the request it belongs to.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidegauge.features import CoercedRows, FeatureSchema, Matrix, coerce_columns, coerce_rows, numeric_rows
from tidegauge.scoring.scored import ScoredRow, ScoredRows
from tidegauge.scoring.scorer import Scorer
from transformer.backlog import Backlog
from transformer.parse import Readable, Rows, Unreadable, read_request
from transformer.served import Remainder, Scored, ServedRequest

SLICE_ROWS: Final = 256
"""So many rows are scored in one go: more are no cheaper a row, and they take 1 ms, or 3 with a slow detector."""

SLICE_VALUES: Final = 8192
"""Of wide data fewer rows, since values that are no plain numbers are taken one by one."""

READ_BYTES_PER_S: Final = 1e9
"""Faster than JSON is read anywhere: what would take longer than the budget even so is not read before the answer."""

READ_AT_ONCE_BYTES: Final = 1 << 16
"""
So much is read whatever the clock says, in some 0.2 ms: where the process was held up for longer than the budget,
putting it off gains nothing.
"""

_NO_ROWS: Final = np.empty((0, 0))

_log = logging.getLogger("transformer.scoring")

Batch = list[tuple[ServedRequest, Matrix]]
"""Requests with at least one row, each with its own."""

Defer = Callable[[Callable[[], None]], Any]
"""Has a function called soon, in the next turn of the event loop."""


class BatchScorer:
    """
    budget_s: how long the requests of one turn may be read and scored before their answers, together; short ones go
    first. A request that has been read and fits into one slice is scored even when that takes longer. clock: seconds.
    """

    def __init__(
        self,
        scorer: Scorer,
        schema: FeatureSchema,
        defer: Defer,
        *,
        budget_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._scorer, self._schema, self._defer = scorer, schema, defer
        self._budget_s, self._clock = budget_s, clock
        self._readable_bytes = budget_s * READ_BYTES_PER_S
        self._names = frozenset(schema.names)
        self.slice_rows = max(1, min(SLICE_ROWS, SLICE_VALUES // len(schema)))
        self._pending: list[ServedRequest] = []
        self._waiting: list[Callable[[], None]] = []
        self._backlog = Backlog(self._go_on, defer, clock)

    def submit(self, request: ServedRequest) -> None:
        """`scored` and `issues` are set when `flush` has run, which is soon, or `settle` was called."""
        if not self._pending:
            self._defer(self._soon)
        request.is_pending = True
        self._pending.append(request)

    def when_scored(self, request: ServedRequest, then: Callable[[], None]) -> None:
        """then: called at once, or when `flush` has run. It raises nothing."""
        if request.is_pending:
            self._waiting.append(then)
        else:
            then()

    def settle(self, request: ServedRequest) -> None:
        """Scores now what an answer does not leave time to score in the next turn."""
        if request.is_pending:
            self.flush()

    def finish(self, request: ServedRequest, then: Callable[[ServedRequest], None]) -> None:
        """To be called after the answer. then: called when nothing of the request is left to score, mostly at once."""
        self.settle(request)
        if request.remainder is None:
            then(request)
        else:
            request.late = max(1, request.rows - request.remainder.start)
            self._backlog.add(request, then)

    def close(self) -> None:
        """Scores what was left over; what takes too long is skipped."""
        self._backlog.close()

    def _soon(self) -> None:
        """
        A turn later, so that the requests of two turns are scored together, which takes a good deal less than twice the
        time of one. The predictor works meanwhile; where it is quicker, its answers wait for that turn's end.
        """
        self._defer(self.flush)

    def flush(self) -> None:
        pending, self._pending = self._pending, []
        waiting, self._waiting = self._waiting, []
        for request in pending:
            request.is_pending = False
        if pending:
            self._score_pending(pending)
        for then in waiting:
            then()

    def _score_pending(self, pending: list[ServedRequest]) -> None:
        deadline = self._clock() + self._budget_s
        if len(pending) > 1:
            pending.sort(key=_length)
        short: list[tuple[ServedRequest, Readable]] = []
        long: list[ServedRequest] = []
        total = 0
        for request in pending:
            total += len(request.body)
            if len(request.body) > self._readable_bytes or (total > READ_AT_ONCE_BYTES and self._clock() >= deadline):
                request.remainder = Remainder()
            elif (content := self._read(request)) is None:
                continue
            elif request.rows <= self.slice_rows:
                short.append((request, content))
            else:
                request.remainder = Remainder(content)
                long.append(request)
        if short:
            self._score_short(short, deadline)
        for request in long:
            while request.remainder is not None and self._clock() < deadline:
                self._go_on(request)

    def _read(self, request: ServedRequest) -> Readable | None:
        try:
            content = read_request(
                request.body,
                protocol=request.read_as or request.protocol,
                features=self._names,
                encoded=request.encoded,
                binary=request.binary,
            )
        except Exception:  # noqa: BLE001 - the prediction does not depend on us
            self._failed(request)
            return None
        if isinstance(content, Unreadable):
            request.issues = {content.issue: 1}
            return None
        request.rows = len(content)
        return content

    def _score_short(self, short: list[tuple[ServedRequest, Readable]], deadline: float) -> None:
        """Slice by slice, the first in any case: to read them took longer than to score them will."""
        start = rows = 0
        for position, (request, _) in enumerate(short):
            if rows + request.rows > self.slice_rows:
                self._score_together(short[start:position])
                start, rows = position, 0
                if self._clock() >= deadline:
                    break
            rows += request.rows
        else:
            self._score_together(short[start:] if start else short)
            return
        for request, content in short[start:]:
            request.remainder = Remainder(content)

    def _score_together(self, requests: list[tuple[ServedRequest, Readable]]) -> None:
        together = self._numeric(requests) if len(requests) > 1 else None
        batch, matrix = self._coerced_each(requests) if together is None else together
        if not batch:
            return
        try:
            self._score(batch, matrix)
        except Exception:  # noqa: BLE001 - one of them may be at fault: each for itself
            for entry in batch:
                self._score_alone(entry)

    def _numeric(self, requests: list[tuple[ServedRequest, Readable]]) -> tuple[Batch, Matrix] | None:
        """All in one go, where all have nothing but complete rows of numbers; else None. With the rows of all."""
        rows: list[object] = []
        for _, content in requests:
            if not isinstance(content, Rows) or not isinstance(content.rows, list):
                return None
            rows += content.rows
        matrix = numeric_rows(rows, self._schema)
        if matrix is None:
            return None
        batch: Batch = []
        start = 0
        for request, _ in requests:
            if request.rows:
                batch.append((request, matrix[start : start + request.rows]))
                start += request.rows
        return batch, matrix

    def _coerced_each(self, requests: list[tuple[ServedRequest, Readable]]) -> tuple[Batch, Matrix]:
        batch: Batch = []
        for request, content in requests:
            try:
                coerced = self._coerced(content)
            except Exception:  # noqa: BLE001 - the prediction does not depend on us
                self._failed(request)
                continue
            request.issues = coerced.issues
            if request.rows:
                batch.append((request, coerced.matrix))
        return batch, batch[0][1] if len(batch) == 1 else np.concatenate([rows for _, rows in batch] or [_NO_ROWS])

    def _coerced(self, content: Readable) -> CoercedRows:
        if isinstance(content, Rows):
            return coerce_rows(content.rows, self._schema)
        return coerce_columns(content.columns, self._schema)

    def _score(self, batch: Batch, matrix: Matrix) -> None:
        """matrix: the rows of all."""
        if len(matrix) == 1:
            batch[0][0].scored = _row_of(self._scorer.score_row(matrix[0].tolist()), matrix)
            return
        scored = self._scorer.score(matrix)
        if len(matrix) == len(batch):
            for (request, _), of_row in zip(batch, _each(scored, matrix), strict=True):
                request.scored = of_row
            return
        lists = _Lists.of(scored)
        start = 0
        for request, rows in batch:
            stop = start + len(rows)
            request.scored = lists.part(start, stop, rows)
            start = stop

    def _score_alone(self, entry: tuple[ServedRequest, Matrix]) -> None:
        try:
            self._score([entry], entry[1])
        except Exception:  # noqa: BLE001
            self._failed(entry[0])

    def _go_on(self, request: ServedRequest) -> None:
        """One more step of what is left of a request: it is read, or a slice of its rows is scored."""
        remainder = request.remainder
        assert remainder is not None
        try:
            if remainder.content is None:
                remainder.content = self._read(request)
                request.body = b""
                if not remainder.content:
                    request.remainder = None
                return
            start, stop = remainder.start, min(remainder.start + self.slice_rows, request.rows)
            coerced = self._coerced(remainder.content.part(start, stop))
            scored = _Lists.of(self._scorer.score(coerced.matrix))
            remainder.add(scored.part(0, stop - start, coerced.matrix), coerced.issues)
        except Exception:  # noqa: BLE001
            self._failed(request)
            return
        request.scored, request.issues = remainder.scored, dict(remainder.issues)
        if stop == request.rows:
            request.remainder = None

    def _failed(self, request: ServedRequest) -> None:
        request.scored = request.remainder = None
        request.issues["scoring_failed"] = 1
        error = sys.exception()
        # The error's own text may quote a value.
        where = "".join(traceback.format_tb(error.__traceback__)) if error else ""
        _log.debug("scoring_failed id=%s error=%s at=\n%s", request.id, type(error).__name__, where)


def _length(request: ServedRequest) -> int:
    return len(request.body)


def _row_of(scored: ScoredRow, matrix: Matrix) -> Scored:
    return Scored(
        matrix=matrix,
        scores={name: [score] for name, score in scored.scores.items()},
        p_values={name: [p_value] for name, p_value in scored.p_values.items()},
        outlier=[scored.outlier],
        top=[scored.top],
    )


def _each(scored: ScoredRows, matrix: Matrix) -> Iterator[Scored]:
    """Row by row, for requests of one row each."""
    of_scores, of_p_values = tuple(scored.scores), tuple(scored.p_values)
    return map(
        Scored,
        matrix[:, None],
        _by_name(of_scores, _rows_of(scored.scores)),
        _by_name(of_p_values, _rows_of(scored.p_values)),
        scored.outlier[:, None].tolist(),
        [[top] for top in scored.top],
    )


def _by_name(names: tuple[str, ...], rows: Iterator[tuple[list[float], ...]]) -> list[dict[str, list[float]]]:
    if len(names) == 3:  # two detectors and their combination: by far the most usual, at a third of the time
        first, second, third = names
        return [{first: one, second: two, third: three} for one, two, three in rows]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _rows_of(columns: Mapping[str, NDArray[np.float64]]) -> Iterator[tuple[list[float], ...]]:
    return zip(*(values[:, None].tolist() for values in columns.values()), strict=True)


@dataclass(frozen=True, slots=True)
class _Lists:
    """Rows' results as lists, of which requests get their parts."""

    scores: list[tuple[str, list[float]]]
    p_values: list[tuple[str, list[float]]]
    outlier: list[bool]
    top: list[list[tuple[str, float]]]

    @classmethod
    def of(cls, scored: ScoredRows) -> _Lists:
        return cls(
            [(name, values.tolist()) for name, values in scored.scores.items()],
            [(name, values.tolist()) for name, values in scored.p_values.items()],
            scored.outlier.tolist(),
            scored.top,
        )

    def part(self, start: int, stop: int, matrix: Matrix) -> Scored:
        return Scored(
            matrix=matrix,
            scores={name: values[start:stop] for name, values in self.scores},
            p_values={name: values[start:stop] for name, values in self.p_values},
            outlier=self.outlier[start:stop],
            top=self.top[start:stop],
        )
