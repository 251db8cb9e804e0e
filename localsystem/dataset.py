"""NASA's Statlog Shuttle data, as bundled with river, in two disjoint parts: one to fit on and one to replay."""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from localsystem.errors import MachineProblem
from tidegauge.features import Matrix

LABEL: Final = "anomaly"
BASELINE_SHARE: Final = 0.6
SPLIT_SEED: Final = 7
"""One split for all: what the predictor learns from is never what is replayed to it."""


@dataclass(frozen=True)
class LabelledRows:
    """rows: float64 (n, features). anomaly: bool (n,), the data set's own labels."""

    names: tuple[str, ...]
    rows: Matrix
    anomaly: NDArray[np.bool_]

    def take(self, positions: NDArray[np.intp]) -> LabelledRows:
        return LabelledRows(self.names, self.rows[positions], self.anomaly[positions])

    def write_csv(self, path: Path) -> None:
        """Features and, last, the label as 0 or 1."""
        table = np.column_stack([self.rows, self.anomaly])
        np.savetxt(path, table, delimiter=",", fmt="%.10g", header=",".join([*self.names, LABEL]), comments="")


def load_shuttle() -> LabelledRows:
    """All 49,097 rows of 9 features. Raises MachineProblem when river is not installed."""
    # Its path, not its import: importing river's data sets takes two seconds.
    spec = importlib.util.find_spec("river")
    if spec is None or not spec.submodule_search_locations:
        raise MachineProblem("river, which carries the Shuttle data, is not installed: pip install 'tidegauge[local]'")
    path = Path(next(iter(spec.submodule_search_locations))) / "datasets" / "shuttle.csv.gz"
    with gzip.open(path, "rt") as file:
        names = tuple(file.readline().strip().split(","))
        table = np.loadtxt(file, delimiter=",")
    return LabelledRows(names[:-1], table[:, :-1], table[:, -1] > 0)


def split(data: LabelledRows, *, seed: int = SPLIT_SEED) -> tuple[LabelledRows, LabelledRows]:
    """(baseline part, replay part): disjoint, at random, the same for the same seed."""
    order = np.random.default_rng(seed).permutation(len(data.rows))
    cut = round(BASELINE_SHARE * len(order))
    return data.take(order[:cut]), data.take(order[cut:])
