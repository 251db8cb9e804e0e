"""What is scored before an answer, what after it, and what not at all: time passes as the tests say."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.scoring.scorer import ScoredRow, ScoredRows, Scorer
from transformer.backlog import BACKLOG_BYTES
from transformer.scoring import SLICE_ROWS, BatchScorer
from transformer.served import ServedRequest

SLICE_S = 0.002


class Timed:
    """Scores like the real one, and takes SLICE_S each time."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.now, self.sizes = scorer, 0.0, list[int]()

    def clock(self) -> float:
        return self.now

    def score(self, matrix: Matrix) -> ScoredRows:
        self.now += SLICE_S
        self.sizes.append(len(matrix))
        return self.scorer.score(matrix)

    def score_row(self, values: Sequence[float]) -> ScoredRow:
        self.now += SLICE_S
        self.sizes.append(1)
        return self.scorer.score_row(values)


class Loop:
    """An event loop's turns, one by one."""

    def __init__(self, scorer: Any, schema: FeatureSchema, budget_s: float) -> None:
        self.calls: deque[Callable[[], None]] = deque()
        self.batches = BatchScorer(scorer, schema, self.calls.append, budget_s=budget_s, clock=scorer.clock)
        self.finished: list[ServedRequest] = []

    def submit(self, body: bytes | list[Any], protocol: str = "v1") -> ServedRequest:
        if isinstance(body, list):
            body = orjson.dumps({"instances": body})
        request = ServedRequest(id="r", seq=1, time_ms=0, started=0.0, protocol=protocol, body=body)
        self.batches.submit(request)
        return request

    def turn(self) -> None:
        for _ in range(len(self.calls)):
            self.calls.popleft()()

    def score(self) -> None:
        """What was submitted is scored in the turn after the next."""
        self.turn()
        self.turn()

    def answer(self, request: ServedRequest) -> None:
        self.batches.finish(request, self.finished.append)


@pytest.fixture
def timed(profile: BaselineProfile) -> Timed:
    return Timed(Scorer(profile))


@pytest.fixture
def loop_of(profile: BaselineProfile, timed: Timed) -> Callable[..., Loop]:
    def make(budget_s: float = 0.005) -> Loop:
        return Loop(timed, profile.schema, budget_s)

    return make


def rows(n: int, seed: int = 1) -> list[list[float]]:
    return np.random.default_rng(seed).normal(size=(n, 3)).tolist()  # type: ignore[no-any-return]


def test_a_request_that_fits_the_budget_is_scored_before_its_answer(loop_of: Any, timed: Timed) -> None:
    loop = loop_of()
    request = loop.submit(rows(2 * SLICE_ROWS))
    loop.score()
    assert request.remainder is None
    assert len(request.scored.outlier) == request.rows == 2 * SLICE_ROWS
    loop.answer(request)
    assert (loop.finished, request.late) == ([request], 0)


def test_what_is_left_over_is_scored_after_the_answer_a_slice_a_turn(loop_of: Any, timed: Timed) -> None:
    loop = loop_of()
    request = loop.submit(rows(5 * SLICE_ROWS + 7))
    loop.score()
    assert timed.sizes == [SLICE_ROWS] * 3, "the third slice began before 5 ms were over"
    assert len(request.scored.outlier) == 3 * SLICE_ROWS
    loop.turn()
    assert len(timed.sizes) == 3, "nothing more before the answer"
    loop.answer(request)
    assert loop.finished == []
    for done in (4, 5, 6):
        loop.turn()
        assert len(timed.sizes) == done
    assert loop.finished == [request]
    assert request.late == 2 * SLICE_ROWS + 7


def test_slices_give_what_the_whole_gives(loop_of: Any, timed: Timed, profile: BaselineProfile) -> None:
    data: list[Any] = rows(3 * SLICE_ROWS + 1)
    data[5], data[700], data[701] = [1.0, None, 2.0], ["x", 1.0, 2.0], [1.0]
    slow, quick = loop_of(0.0), loop_of(60.0)
    late, soon = slow.submit(data), quick.submit(data)
    slow.score()
    slow.answer(late)
    while not slow.finished:
        slow.turn()
    quick.score()
    expected = timed.scorer.score(late.scored.matrix)
    for request in (late, soon):
        assert request.issues == {"missing_value": 1, "wrong_type": 1, "wrong_width": 1}
        assert request.scored.scores == {name: values.tolist() for name, values in expected.scores.items()}
        assert request.scored.p_values == {name: values.tolist() for name, values in expected.p_values.items()}
        assert request.scored.outlier == expected.outlier.tolist()
        assert request.scored.top == expected.top


def test_issues_of_whole_columns_are_counted_once_whatever_the_slices(loop_of: Any) -> None:
    n = 3 * SLICE_ROWS
    loop = loop_of()
    body = orjson.dumps({"inputs": {"a": [1.0] * n, "b": [1.0, None], "z": [0] * n, "y": [0]}})
    request = loop.submit(body)
    loop.score()
    assert request.issues == {"missing_feature": 1, "missing_value": 1, "unknown_feature": 2, "wrong_width": 1}


def test_no_budget_means_that_all_is_read_and_scored_after_the_answer(loop_of: Any, timed: Timed) -> None:
    loop = loop_of(0.0)
    requests = [loop.submit(rows(2)), loop.submit(b"{")]
    loop.score()
    assert [(request.scored, request.issues, request.rows) for request in requests] == [(None, {}, 0)] * 2
    for request in requests:
        loop.answer(request)
    for _ in range(4):
        loop.turn()
    assert loop.finished == requests
    assert [len(request.scored.outlier) if request.scored else 0 for request in requests] == [2, 0]
    assert [request.issues for request in requests] == [{}, {"not_json": 1}]


def test_short_requests_do_not_wait_for_long_ones(loop_of: Any, timed: Timed) -> None:
    loop = loop_of()
    long = loop.submit(rows(20 * SLICE_ROWS))
    short = [loop.submit(rows(1, seed)) for seed in range(5)]
    loop.score()
    assert timed.sizes[0] == 5, "as one matrix, first"
    assert all(request.remainder is None for request in short)
    assert long.remainder is not None


def test_many_short_requests_share_the_budget(loop_of: Any, timed: Timed) -> None:
    loop = loop_of()
    requests = [loop.submit(rows(100, seed)) for seed in range(20)]
    loop.score()
    assert timed.sizes == [200] * 3
    assert [request.remainder is None for request in requests].count(True) == 6
    for request in requests:
        loop.answer(request)
    while len(loop.finished) < 20:
        loop.turn()
    assert all(len(request.scored.outlier) == 100 for request in requests)


def test_beyond_its_bound_the_backlog_skips_and_says_so(loop_of: Any) -> None:
    loop = loop_of()
    body = orjson.dumps({"instances": rows(4 * SLICE_ROWS)})
    body += b" " * ((4 << 20) - len(body))
    waiting = [loop.submit(body) for _ in range(BACKLOG_BYTES // len(body))]
    loop.score()
    for request in waiting:
        loop.answer(request)
    partly, none = loop.submit(rows(5 * SLICE_ROWS)), loop.submit(body)
    loop.batches.flush()
    for request in (partly, none):
        loop.answer(request)
    assert loop.finished == [partly, none]
    assert partly.issues == {"scoring_skipped": 2 * SLICE_ROWS}
    assert len(partly.scored.matrix) == len(partly.scored.outlier) == 3 * SLICE_ROWS
    assert none.issues == {"scoring_skipped": 4 * SLICE_ROWS}
    while len(loop.finished) < 2 + len(waiting):
        loop.score()
    assert all(len(request.scored.outlier) == 4 * SLICE_ROWS for request in waiting)
    again = loop.submit(rows(5 * SLICE_ROWS))
    loop.score()
    loop.answer(again)
    assert again not in loop.finished, "there is room again"


def test_closing_scores_what_waits_for_two_seconds_and_skips_the_rest(loop_of: Any, timed: Timed) -> None:
    loop = loop_of(0.0)
    n = math.ceil(2.0 / SLICE_S)
    requests = [loop.submit(rows(1, seed)) for seed in range(n + 50)]
    loop.score()
    for request in requests:
        loop.answer(request)
    loop.batches.close()
    assert loop.finished == requests
    assert [request.issues for request in requests] == [{}] * n + [{"scoring_skipped": 1}] * 50
    loop.turn()


class Faulty(Timed):
    def score(self, matrix: Matrix) -> ScoredRows:
        if self.sizes.count(SLICE_ROWS) == 2:
            raise RuntimeError("a fault")
        return super().score(matrix)


def test_a_fault_in_a_later_slice_is_an_issue_of_the_request(profile: BaselineProfile) -> None:
    loop = Loop(Faulty(Scorer(profile)), profile.schema, 0.003)
    request = loop.submit(rows(5 * SLICE_ROWS))
    loop.score()
    assert request.scored is not None
    loop.answer(request)
    loop.turn()
    assert loop.finished == [request]
    assert (request.scored, request.issues["scoring_failed"]) == (None, 1)


def test_wide_rows_are_scored_fewer_at_a_time() -> None:
    schema = FeatureSchema(tuple(FeatureSpec(f"f{position}") for position in range(400)))
    assert BatchScorer(None, schema, lambda _: None, budget_s=1.0).slice_rows == 20  # type: ignore[arg-type]


def test_an_answer_that_comes_before_its_scores_waits_for_them(loop_of: Any) -> None:
    loop, told = loop_of(), []  # type: ignore[var-annotated]
    requests = [loop.submit(rows(1)) for _ in range(2)]
    for request in requests:
        loop.batches.when_scored(request, lambda request=request: told.append(request.scored is not None))
    loop.turn()
    assert told == []
    loop.turn()
    assert told == [True, True]
    loop.batches.when_scored(requests[0], lambda: told.append("at once"))
    assert told[-1] == "at once"
