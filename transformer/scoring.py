"""
Requests that wait for the predictor, scored: all that came in one turn of the event loop as one matrix.

Whatever goes wrong here ends as an issue of the request it belongs to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from tidegauge.features import CoercedRows, FeatureSchema, coerce_columns, coerce_rows
from tidegauge.scoring.scored import ScoredRow, ScoredRows
from tidegauge.scoring.scorer import Scorer
from transformer.parse import Rows, Unreadable, read_request
from transformer.served import Scored, ServedRequest

_log = logging.getLogger("transformer.scoring")

Defer = Callable[[Callable[[], None]], Any]
"""Has a function called soon, in the next turn of the event loop."""


class BatchScorer:
    def __init__(self, scorer: Scorer, schema: FeatureSchema, defer: Defer) -> None:
        self._scorer, self._schema, self._defer = scorer, schema, defer
        self._names = frozenset(schema.names)
        self._pending: list[ServedRequest] = []

    def submit(self, request: ServedRequest) -> None:
        """`scored` and `issues` are set when `flush` has run, which is soon, or `settle` was called."""
        if not self._pending:
            self._defer(self.flush)
        self._pending.append(request)

    def settle(self, request: ServedRequest) -> None:
        """Scores now what an answer does not leave time to score in the next turn."""
        if request in self._pending:
            self.flush()

    def flush(self) -> None:
        pending, self._pending = self._pending, []
        batch: list[tuple[ServedRequest, CoercedRows]] = []
        for request in pending:
            try:
                coerced = self._coerced(request)
            except Exception:  # noqa: BLE001 - the prediction does not depend on us
                self._failed(request)
                continue
            if coerced is not None and len(coerced.matrix):
                batch.append((request, coerced))
        if not batch:
            return
        try:
            self._score(batch)
        except Exception:  # noqa: BLE001 - one of them may be at fault: each for itself
            for entry in batch:
                self._score_alone(entry)

    def _coerced(self, request: ServedRequest) -> CoercedRows | None:
        content = read_request(
            request.body,
            protocol=request.protocol,
            features=self._names,
            encoded=request.encoded,
            binary=request.binary,
        )
        if isinstance(content, Unreadable):
            request.issues = {content.issue: 1}
            return None
        if isinstance(content, Rows):
            coerced = coerce_rows(content.rows, self._schema)
        else:
            coerced = coerce_columns(content.columns, self._schema)
        request.issues = dict(coerced.issues)
        return coerced

    def _score(self, batch: list[tuple[ServedRequest, CoercedRows]]) -> None:
        if len(batch) == 1 and len(batch[0][1].matrix) == 1:
            request, coerced = batch[0]
            request.scored = _row_of(self._scorer.score_row(coerced.matrix[0].tolist()), coerced)
            return
        scored = self._scorer.score(np.concatenate([coerced.matrix for _, coerced in batch]))
        top = scored.top
        start = 0
        for request, coerced in batch:
            part = slice(start, start + len(coerced.matrix))
            request.scored = _rows_of(scored, top, part, coerced)
            start = part.stop

    def _score_alone(self, entry: tuple[ServedRequest, CoercedRows]) -> None:
        try:
            self._score([entry])
        except Exception:  # noqa: BLE001
            self._failed(entry[0])

    def _failed(self, request: ServedRequest) -> None:
        request.scored = None
        request.issues["scoring_failed"] = 1
        _log.debug("scoring_failed id=%s", request.id, exc_info=True)


def _row_of(scored: ScoredRow, coerced: CoercedRows) -> Scored:
    return Scored(
        matrix=coerced.matrix,
        scores={name: [score] for name, score in scored.scores.items()},
        p_values={name: [p_value] for name, p_value in scored.p_values.items()},
        outlier=[scored.outlier],
        top=[scored.top],
    )


def _rows_of(scored: ScoredRows, top: list[list[tuple[str, float]]], part: slice, coerced: CoercedRows) -> Scored:
    return Scored(
        matrix=coerced.matrix,
        scores={name: values[part].tolist() for name, values in scored.scores.items()},
        p_values={name: values[part].tolist() for name, values in scored.p_values.items()},
        outlier=scored.outlier[part].tolist(),
        top=top[part],
    )
