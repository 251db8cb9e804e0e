"""
What every detector promises, as checks that anyone can run on a class of their own:

    check_detector(Spread)

They raise AssertionError with a sentence that says what was promised and on which rows it was not kept.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import orjson

from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.scoring.detector import Array, Detector, DetectorKind, score_rows, scores_of

SCHEMA: Final = FeatureSchema(
    (FeatureSpec("a"), FeatureSpec("b"), FeatureSpec("c", "categorical", ("x", "y", "z")), FeatureSpec("d", "boolean"))
)
BATCHES: Final = (1, 2, 3, 16, 65)


def check_detector(kind: DetectorKind) -> None:
    """Raises AssertionError at the first promise that is not kept; whatever the class itself raises passes through."""
    detector = kind.fit(_rows(600), SCHEMA)
    rows = np.vstack([_rows(60, start=601), _odd_rows()])
    _check_input_is_left_alone(detector, rows)
    scores, contributions = _check_values(detector, rows)
    _check_company(detector, rows, scores, contributions)
    _check_document(kind, detector, rows, scores)
    _check_repeatability(kind, rows, scores)


def _rows(count: int, *, start: int = 1) -> Matrix:
    """Two dependent numbers, a category and a boolean, from sequences that fill the unit interval evenly."""
    steps = np.arange(start, start + count)
    one, two, three, four = ((steps * np.sqrt(prime)) % 1.0 for prime in (2.0, 3.0, 5.0, 7.0))
    first, second = np.log(one / (1.0 - one)), np.log(two / (1.0 - two))
    return np.column_stack([first, first + second, np.searchsorted([0.6, 0.9], three), four < 0.2]).astype(np.float64)


def _odd_rows() -> Matrix:
    """Missing values, all of them missing, an unseen category, numbers beyond all measure, and five rows alike."""
    nan = np.nan
    odd = [[nan, 0.0, 1.0, 0.0], [nan, nan, nan, nan], [0.0, 0.0, -1.0, 1.0], [1e308, -1e308, 0.0, 0.0]]
    return np.array(odd + [[9.0, -9.0, 2.0, 1.0]] * 5)


def _check_values(detector: Detector, rows: Matrix) -> tuple[Array, Array]:
    scores, contributions = score_rows(detector, rows)
    _promise(scores.shape == (len(rows),), "a batch has one score per row", scores.shape)
    _promise(contributions.shape == rows.shape, "reasons are one contribution per feature and row", contributions.shape)
    _promise(bool(np.isfinite(scores).all()), "every row has a finite score", rows[~np.isfinite(scores)])
    _promise(bool((contributions >= 0).all()), "contributions are >= 0", contributions.min())
    nothing = scores_of(detector, np.empty((0, rows.shape[1])))
    _promise(nothing.shape == (0,), "no rows have no scores", nothing.shape)
    return scores, contributions


def _check_company(detector: Detector, rows: Matrix, scores: Array, contributions: Array) -> None:
    order = np.argsort((np.arange(len(rows)) * np.sqrt(2.0)) % 1.0)
    _promise(_same(scores_of(detector, rows[order]), scores[order]), "the order of rows changes no score", None)
    for size in BATCHES:
        for start in range(0, len(rows) - size + 1, size):
            part = slice(start, start + size)
            alone, reasons = score_rows(detector, rows[part])
            _promise(_same(alone, scores[part]), f"{size} rows score as they do among others, to the last bit", start)
            _promise(_same(reasons, contributions[part]), f"{size} rows have the reasons they have among others", start)


def _check_input_is_left_alone(detector: Detector, rows: Matrix) -> None:
    before = rows.copy()
    score_rows(detector, rows)
    score_rows(detector, rows[:1])
    _promise(_same(before, rows), "scoring leaves the rows as they were", None)


def _check_document(kind: DetectorKind, detector: Detector, rows: Matrix, scores: Array) -> None:
    again = kind.from_document(orjson.loads(orjson.dumps(detector.to_document())), SCHEMA)
    _promise(_same(scores_of(again, rows), scores), "a detector read from its JSON document scores the same", None)


def _check_repeatability(kind: DetectorKind, rows: Matrix, scores: Array) -> None:
    again = kind.fit(_rows(600), SCHEMA)
    _promise(_same(scores_of(again, rows), scores), "the same rows give the same detector", None)


def _same(left: Array, right: Array) -> bool:
    return np.array_equal(left, right, equal_nan=True)


def _promise(kept: bool, promise: str, seen: object) -> None:
    assert kept, f"{promise}: not so{'' if seen is None else f', seen {seen}'}"
