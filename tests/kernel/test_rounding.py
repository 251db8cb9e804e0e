"""Numbers that differ in their last bits round to the same."""

from __future__ import annotations

import numpy as np

from tidegauge.rounding import significant, significant_beside


def test_values_that_differ_in_their_last_bits_become_the_same() -> None:
    values = np.array([0.1 + 0.2, 1e300 / 3, -7e-200])
    np.testing.assert_array_equal(significant(np.nextafter(values, np.inf)), significant(values))
    np.testing.assert_allclose(significant(values), values, rtol=1e-11)


def test_a_mean_keeps_the_digits_that_its_scale_needs() -> None:
    values, scales = np.array([1e9 + 0.123456789, 5e-9, 1e20, 0.1 + 0.2]), np.array([1.0, 1e-6, 1e18, 0.0])
    rounded = significant_beside(values, scales)
    np.testing.assert_allclose((rounded - values)[:3] / scales[:3], 0, atol=1e-7)
    assert rounded[3] == 0.3


def test_nothing_rounds_to_nothing() -> None:
    assert not len(significant_beside(np.zeros(0), np.zeros(0)))
