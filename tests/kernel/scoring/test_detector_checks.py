"""The checks that a user runs on a detector of their own: ours pass them, and each broken promise is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.spread import Spread
from tidegauge.features import FeatureSchema, Matrix
from tidegauge.scoring import DETECTORS
from tidegauge.scoring.contract import check_detector
from tidegauge.scoring.detector import Array, DetectorKind, Missing, ReasonsOfRow, ReasonsOfRows


@pytest.mark.parametrize("kind", [*DETECTORS.values(), Spread], ids=[*DETECTORS, "a user's own"])
def test_a_detector_keeps_its_promises(kind: DetectorKind) -> None:
    check_detector(kind)


def test_the_documented_example_keeps_them() -> None:
    page = (Path(__file__).parents[3] / "docs" / "extending.md").read_text()
    example, *_ = re.findall(r"```python\n(# mypackage.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    check_detector(names["Spread"])


class Neighbourly(Spread):
    """Looks at the rows beside."""

    def scores(self, matrix: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        scores, reasons = super().scores(matrix, missing)
        return scores / len(matrix), reasons


class Negative(Spread):
    def scores(self, matrix: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        scores, reasons = super().scores(matrix, missing)
        return scores, lambda rows: -reasons(rows)


class Endless(Spread):
    def scores(self, matrix: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        scores, reasons = super().scores(matrix, missing)
        return np.where(scores > 1e9, np.inf, scores), reasons


class Forgetful(Spread):
    @classmethod
    def from_document(cls, document: Any, schema: FeatureSchema) -> Forgetful:
        return cls(1.0)


class Changing(Spread):
    fits = 0

    @classmethod
    def fit(cls, matrix: Matrix, schema: FeatureSchema) -> Changing:
        cls.fits += 1
        return cls(float(cls.fits))


class Meddling(Spread):
    def score_row(self, row: Array, missing: Missing) -> tuple[float, ReasonsOfRow]:
        result = super().score_row(row.copy(), missing)
        row[:] = 0.0
        return result


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Neighbourly, "score as they do among others"),
        (Negative, "contributions are >= 0"),
        (Endless, "every row has a finite score"),
        (Forgetful, "read from its JSON document scores the same"),
        (Changing, "the same rows give the same detector"),
        (Meddling, "scoring leaves the rows as they were"),
    ],
)
def test_a_broken_promise_is_named(kind: DetectorKind, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_detector(kind)
