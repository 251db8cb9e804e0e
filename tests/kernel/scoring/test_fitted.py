"""Reference rows into detectors and their calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.examples import numeric_schema
from tidegauge.errors import BaselineMismatch, InvalidBaseline
from tidegauge.features import FeatureSchema, Matrix
from tidegauge.scoring import DETECTORS
from tidegauge.scoring.detector import Array, DetectorKind, Missing, ReasonsOfRow, ReasonsOfRows, load_detectors
from tidegauge.scoring.fitted import SMALL_SAMPLE, FittedScoring
from tidegauge.scoring.known_outliers import RATES, KnownOutliers

PAIR = {name: DETECTORS[name] for name in ("tail", "mahalanobis")}


class Distance:
    """A user's own detector: how far the first feature is from its reference mean."""

    def __init__(self, mean: float, features: int) -> None:
        self.mean, self.features = mean, features

    @classmethod
    def fit(cls, matrix: Matrix, schema: FeatureSchema) -> Distance:
        return cls(float(np.nanmean(matrix[:, 0])), len(schema))

    def score_row(self, row: Array, missing: Missing) -> tuple[float, ReasonsOfRow]:
        contributions = np.zeros(self.features)
        contributions[0] = 0.0 if missing is not None and missing[0] else abs(row[0] - self.mean)
        return float(contributions[0]), lambda: contributions

    def scores(self, matrix: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
        contributions = np.zeros(matrix.shape)
        contributions[:, 0] = np.nan_to_num(np.abs(matrix[:, 0] - self.mean))
        return contributions[:, 0], lambda rows: contributions[rows]

    def to_document(self) -> dict[str, object]:
        return {"mean": self.mean}

    @classmethod
    def from_document(cls, document: Any, schema: FeatureSchema) -> Distance:
        return cls(document["mean"], len(schema))


OWN: dict[str, DetectorKind] = {"mine.detectors:Distance": Distance}


def rows_of(count: int, *, seed: int = 1) -> Matrix:
    return np.random.default_rng(seed).normal(size=(count, 3))


def fit(count: int, **options: Any) -> FittedScoring:
    return FittedScoring.fit(rows_of(count), numeric_schema(3), detectors=options.pop("detectors", PAIR), **options)


@pytest.mark.parametrize(("rows", "held_out"), [(SMALL_SAMPLE - 1, SMALL_SAMPLE - 1), (SMALL_SAMPLE, 2000)])
def test_small_data_calibrate_on_every_row_and_large_data_on_half_of_them(rows: int, held_out: int) -> None:
    assert fit(rows).held_out_of(("tail", "mahalanobis")).n == pytest.approx(held_out, abs=2)


def test_no_row_calibrates_a_detector_that_was_fitted_on_it() -> None:
    """A detector that remembers its rows gives a fitted row 0 and any other 1."""

    class Memory(Distance):
        @classmethod
        def fit(cls, matrix: Matrix, schema: FeatureSchema) -> Memory:
            memory = cls(0.0, len(schema))
            memory.rows = set(matrix[:, 0].tolist())  # type: ignore[attr-defined]
            return memory

        def scores(self, matrix: Array, missing: Missing) -> tuple[Array, ReasonsOfRows]:
            known = [value in self.rows for value in matrix[:, 0].tolist()]  # type: ignore[attr-defined]
            return 1.0 - np.array(known), lambda rows: np.zeros((len(rows), self.features))

    for rows in (500, SMALL_SAMPLE):
        scoring = fit(rows, detectors={"memory": Memory})
        expected = scoring.surprises["memory"].of_one(1.0)
        np.testing.assert_allclose(scoring.held_out["memory"].values, expected, rtol=1e-6)


@pytest.mark.parametrize("names", [("tail",), ("mahalanobis",), ("tail", "mahalanobis")], ids=str)
def test_every_set_of_detectors_has_a_calibration_of_its_own(names: tuple[str, ...]) -> None:
    scoring = fit(1000)
    assert scoring.ordered(names[::-1]) == names
    held_out = scoring.held_out_of(names)
    p_values = held_out.p_values(held_out.values.astype(float))
    assert p_values[-1] == pytest.approx(2 / 1001)


def test_many_detectors_are_calibrated_each_alone_and_all_together() -> None:
    kinds: dict[str, DetectorKind] = {f"mine:Distance{number}": Distance for number in range(5)}
    scoring = fit(200, detectors=kinds)
    assert len(scoring.held_out) == 6
    with pytest.raises(BaselineMismatch, match="no calibration for mine:Distance0, mine:Distance1 together"):
        scoring.ordered(("mine:Distance0", "mine:Distance1"))


def test_presumed_outliers_are_left_out_of_the_fit() -> None:
    rows = rows_of(5000)
    rows[::20] += 30.0
    clean = FittedScoring.fit(np.delete(rows, slice(None, None, 20), axis=0), numeric_schema(3), detectors=PAIR)
    trimmed = FittedScoring.fit(rows, numeric_schema(3), detectors=PAIR, contamination=0.05)
    assert trimmed.to_document() == clean.to_document()


def test_marked_outliers_say_what_share_of_them_is_found() -> None:
    outliers = np.vstack([np.full((30, 3), 9.0), np.zeros((70, 3))])
    known = fit(5000, known_outliers=outliers).known_outliers
    assert known.rows == 100
    assert known.recall("tail+mahalanobis", 0.001) == 0.3
    assert known.recall("tail", 0.0015) == 0.3
    assert known.recall("mahalanobis", 0.5) >= 0.3  # type: ignore[operator]
    assert known.recall("forest", 0.001) is known.recall("tail", 1e-9) is None


def test_without_marked_outliers_nothing_is_claimed_about_them() -> None:
    assert fit(300).known_outliers.recall("tail", 0.001) is None
    assert fit(300, known_outliers=np.empty((0, 3))).known_outliers == KnownOutliers()


@pytest.mark.parametrize("document", [[], {"rows": "many"}, {"flagged": {"tail": [1, 2]}}, {"flagged": 5}])
def test_damaged_counts_of_marked_outliers_are_refused(document: object) -> None:
    with pytest.raises(InvalidBaseline, match="known_outliers"):
        KnownOutliers.from_document(document)


def test_the_rates_that_recall_is_known_at_are_ordered() -> None:
    assert list(RATES) == sorted(RATES)
    assert 0.001 in RATES


def test_a_users_own_detector_takes_part_beside_the_others() -> None:
    scoring = fit(600, detectors={**OWN, **PAIR})
    assert tuple(scoring.detectors) == ("tail", "mahalanobis", "mine.detectors:Distance")
    again = FittedScoring.from_document(scoring.to_document(), numeric_schema(3), kinds=OWN)
    assert tuple(again.detectors) == tuple(scoring.detectors)
    assert "tail+mahalanobis+mine.detectors:Distance" in again.held_out


def test_a_detector_that_a_process_has_no_class_for_is_kept_and_not_used() -> None:
    document = fit(600, detectors={**OWN, **PAIR}).to_document()
    without = FittedScoring.from_document(document, numeric_schema(3))
    assert without.ordered(None) == ("tail", "mahalanobis")
    assert without.to_document() == document
    with pytest.raises(BaselineMismatch, match=r"no detector mine\.detectors:Distance; it has tail, mahalanobis"):
        without.ordered(("mine.detectors:Distance",))


def test_own_classes_are_loaded_by_the_names_that_have_the_form_of_one() -> None:
    assert load_detectors(["tail", f"{__name__}:Distance"]) == {f"{__name__}:Distance": Distance}


def test_a_profile_of_unknown_detectors_alone_is_refused() -> None:
    document = fit(300, detectors=OWN).to_document()
    with pytest.raises(InvalidBaseline, match=r"detectors mine\.detectors:Distance; this process has tail"):
        FittedScoring.from_document(document, numeric_schema(3))


def test_a_long_fit_tells_what_it_does() -> None:
    told: list[tuple[str, float]] = []
    fit(300, contamination=0.02, progress=lambda what, share: told.append((what, share)))
    assert [what for what, _ in told] == ["looking for unmarked outliers", "fitting detectors", "calibrating"]
    assert all(0 <= share <= 1 for _, share in told)
