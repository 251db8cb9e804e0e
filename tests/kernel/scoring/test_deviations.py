from __future__ import annotations

import numpy as np
import pytest

from tests.support.examples import SCHEMA, numeric_schema
from tidegauge.features import UNSEEN, FeatureSchema, Matrix
from tidegauge.scoring.deviations import Deviations


def deviations(reference: Matrix, rows: Matrix, schema: FeatureSchema | None = None) -> Matrix:
    """(rows, features)."""
    missing = np.isnan(rows)
    fitted = Deviations.fit(reference, schema or numeric_schema(reference.shape[1]))
    return fitted.of(rows, missing if missing.any() else None).astype(np.float64)


def column(*values: float) -> Matrix:
    return np.array(values)[:, None]


def test_a_number_is_measured_from_the_median_in_typical_distances() -> None:
    reference = column(10.0, 10.0, 12.0, 14.0, 6.0, 10.0, np.nan)
    np.testing.assert_array_equal(deviations(reference, column(10.0, 14.0, 2.0, np.nan))[:, 0], [0.0, 1.0, -2.0, 0.0])


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e12])
@pytest.mark.parametrize("unit", [2.0**-40, 1.0, 2.0**100])
def test_neither_unit_nor_offset_leaves_a_trace(unit: float, offset: float) -> None:
    reference = np.random.default_rng(1).integers(-500, 500, (99, 1)) / 8.0
    expected = deviations(reference, reference)
    np.testing.assert_array_equal(deviations((reference + offset) * unit, (reference + offset) * unit), expected)


@pytest.mark.parametrize("constant", [0.0, 5.0, -1e9, 1e308])
def test_a_constant_has_no_scale_and_another_value_still_a_deviation(constant: float) -> None:
    reference = column(constant, constant, constant)
    assert Deviations.fit(reference, numeric_schema(1)).scale[0] == 0.0
    np.testing.assert_array_equal(deviations(reference, column(constant, np.nan))[:, 0], [0.0, 0.0])
    assert deviations(column(5.0, 5.0), column(6.0))[0, 0] == 1.0


def test_rounding_does_not_make_a_constant_vary() -> None:
    sums = column(0.1 + 0.2, 0.3, 0.3)
    assert Deviations.fit(sums, numeric_schema(1)).scale[0] == 0.0


@pytest.mark.parametrize("reference", [column(np.nan, np.nan), np.empty((0, 1))])
def test_without_any_value_the_reference_is_at_0(reference: Matrix) -> None:
    np.testing.assert_array_equal(deviations(reference, column(3.0, np.nan))[:, 0], [3.0, 0.0])


def test_the_largest_numbers_are_far_but_no_error() -> None:
    reference = column(-1e308, 1e308, np.inf, -np.inf, 0.0)
    assert not np.isnan(deviations(reference, column(np.inf, -np.inf, 1.7e308, -1.7e308))).any()
    np.testing.assert_array_equal(deviations(column(1.0, 2.0, 3.0), column(1e300, -1e300))[:, 0], [np.inf, -np.inf])


def test_a_category_counts_as_its_share() -> None:
    reference = np.column_stack([np.zeros(10), [0, 0, 0, 0, 0, 0, 1, 1, 1, 2], np.zeros(10)]).astype(float)
    fitted = Deviations.fit(reference, SCHEMA)
    np.testing.assert_allclose(fitted.shares["colour"], [0.6, 0.3, 0.1])
    rows = np.array([[0.0, code, 0.0] for code in (0.0, 1.0, 2.0, UNSEEN, np.nan, 99.0)])
    most, some, few, unseen, missing, beyond = deviations(reference, rows, SCHEMA)[:, 1]
    assert most > some > few > unseen
    assert missing == most == 0.0
    assert beyond == few  # no row has such a code; whatever it gives, it is a number


def test_an_unseen_category_in_the_reference_has_no_share() -> None:
    reference = np.array([[0.0, UNSEEN, 0.0], [0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(Deviations.fit(reference, SCHEMA).shares["colour"], [0.0, 0.5, 0.0])
