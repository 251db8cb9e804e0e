"""The demonstration's schedule and traffic are whole windows, seeded, and drift where they say."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from localsystem.dataset import LabelledRows, load_shuttle, split
from localsystem.demo.plan import (
    SHIFTED,
    SPREAD,
    WINDOW_S,
    WINDOWS_AFTER,
    WINDOWS_BEFORE,
    Schedule,
    Traffic,
    make_schedule,
    make_traffic,
)
from localsystem.errors import LocalSystemError

SCHEDULE = Schedule(traffic_s=30, drift_after_s=15, rate=20)


@pytest.fixture(scope="module")
def parts() -> tuple[LabelledRows, LabelledRows]:
    return split(load_shuttle())


def traffic_of(parts: tuple[LabelledRows, LabelledRows], seed: int = 7) -> Traffic:
    return make_traffic(SCHEDULE, baseline=parts[0], held_out=parts[1], seed=seed)


def rows_of(traffic: Traffic) -> np.ndarray:
    return np.array([orjson.loads(body)["instances"][0] for body in traffic.bodies])


@pytest.mark.parametrize("seconds", range(50, 300, 7))
def test_both_sides_of_the_drift_have_windows_enough(seconds: int) -> None:
    schedule = make_schedule(seconds=seconds, rate=10)

    assert schedule.traffic_s % WINDOW_S == schedule.drift_after_s % WINDOW_S == 0
    assert seconds - WINDOW_S < schedule.traffic_s <= seconds
    assert schedule.drift_after_s >= WINDOWS_BEFORE * WINDOW_S
    assert schedule.traffic_s - schedule.drift_after_s >= WINDOWS_AFTER * WINDOW_S


@pytest.mark.parametrize(
    ("seconds", "rate", "problem"),
    [(49, 200, "49 seconds are too few: the demo needs at least 50"), (60, 0, "a rate of 0 requests/s sends nothing")],
    ids=["too short", "no rate"],
)
def test_what_cannot_show_anything_is_refused(seconds: int, rate: int, problem: str) -> None:
    with pytest.raises(LocalSystemError, match=problem):
        make_schedule(seconds=seconds, rate=rate)


def test_the_two_parts_of_the_data_are_all_of_it_and_always_the_same(parts: tuple[LabelledRows, LabelledRows]) -> None:
    baseline, held_out = parts

    assert len(baseline.rows) + len(held_out.rows) == 49_097
    assert baseline.anomaly.sum() + held_out.anomaly.sum() == 3_511
    assert np.array_equal(split(load_shuttle())[1].rows, held_out.rows)


def test_the_same_seed_gives_the_same_bytes(parts: tuple[LabelledRows, LabelledRows]) -> None:
    assert traffic_of(parts).bodies == traffic_of(parts).bodies
    assert traffic_of(parts).bodies != traffic_of(parts, seed=8).bodies


def test_every_request_has_an_id_of_its_own(parts: tuple[LabelledRows, LabelledRows]) -> None:
    traffic = traffic_of(parts)

    assert len(set(traffic.ids)) == len(traffic.bodies) == len(traffic.anomaly) == SCHEDULE.requests


def test_rows_before_the_drift_are_held_out_rows_with_their_labels(parts: tuple[LabelledRows, LabelledRows]) -> None:
    traffic, held_out = traffic_of(parts), parts[1]
    known = {(*row, label) for row, label in zip(map(tuple, held_out.rows), held_out.anomaly, strict=True)}

    before = rows_of(traffic)[: SCHEDULE.first_drifted]

    assert all((*row, label) in known for row, label in zip(map(tuple, before), traffic.anomaly, strict=False))


def test_rows_from_the_drift_on_are_changed_in_the_named_features_alone(
    parts: tuple[LabelledRows, LabelledRows],
) -> None:
    traffic, names = traffic_of(parts), parts[1].names
    undrifted = make_traffic(
        Schedule(traffic_s=30, drift_after_s=30, rate=20), baseline=parts[0], held_out=parts[1], seed=7
    )

    changed = rows_of(traffic) != rows_of(undrifted)

    assert not changed[: SCHEDULE.first_drifted].any()
    assert {names[column] for column in np.flatnonzero(changed.any(axis=0))} == {*SHIFTED, *SPREAD}
    assert traffic.scenario.features == (*SHIFTED, *SPREAD)
