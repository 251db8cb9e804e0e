"""The load test's traffic is the same every time, and its ids are its own."""

from __future__ import annotations

from itertools import islice
from uuid import UUID

import numpy as np
import orjson

from loadtest.traffic import FEATURES, request_bodies, request_ids, shuttle_rows, synthetic_rows

ROWS = synthetic_rows(np.random.default_rng(1), count=5)


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert list(islice(request_bodies(ROWS, seed=3), 20)) == list(islice(request_bodies(ROWS, seed=3), 20))


def test_another_seed_gives_another_order() -> None:
    assert list(islice(request_bodies(ROWS, seed=3), 20)) != list(islice(request_bodies(ROWS, seed=4), 20))


def test_every_row_is_sent_once_before_any_is_sent_again() -> None:
    bodies = [orjson.loads(body)["instances"] for body in islice(request_bodies(ROWS, seed=3), len(ROWS))]

    assert sorted(row for rows in bodies for row in rows) == sorted(ROWS.tolist())


def test_a_request_has_as_many_rows_as_asked_for() -> None:
    body = orjson.loads(next(request_bodies(ROWS, seed=3, rows_per_request=4)))

    assert np.shape(body["instances"]) == (4, FEATURES)


def test_ids_of_two_runs_differ() -> None:
    first, second = (set(islice(request_ids(UUID(int=number)), 100)) for number in (1, 2))

    assert len(first | second) == 200


def test_shuttle_rows_come_without_their_label() -> None:
    rows = shuttle_rows()

    assert rows is not None
    assert rows.shape == (49_097, FEATURES)
