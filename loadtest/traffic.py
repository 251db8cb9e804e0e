"""Seeded rows and the requests made of them."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

import numpy as np
import orjson

from tidegauge.features import Matrix
from tidegauge.scenarios import replay_order

FEATURES: Final = 9


def shuttle_rows() -> Matrix | None:
    """NASA's Shuttle data without its label, float64 (49097, 9); None where river is not installed."""
    spec = importlib.util.find_spec("river")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / "datasets" / "shuttle.csv.gz"
    with gzip.open(path, "rt") as file:
        return np.loadtxt(file, delimiter=",", skiprows=1)[:, :FEATURES]


def synthetic_rows(rng: np.random.Generator, *, count: int) -> Matrix:
    """Independent standard normal features, float64 (count, 9)."""
    return rng.standard_normal((count, FEATURES))


def request_bodies(rows: Matrix, *, seed: int, rows_per_request: int = 1) -> Iterator[bytes]:
    """v1 requests without end, of the rows in random order, each equally often; the same for the same seed."""
    rng = np.random.default_rng(seed)
    positions = itertools.chain.from_iterable(
        replay_order(rng, available=len(rows), count=len(rows)).tolist() for _ in itertools.count()
    )
    while True:
        taken = list(itertools.islice(positions, rows_per_request))
        yield orjson.dumps({"instances": rows[taken].tolist()})


def request_ids(run: UUID) -> Iterator[str]:
    """Ids without end that no other run and no other process of a run uses."""
    return (f"load-{run.hex}-{number}" for number in itertools.count(1))
