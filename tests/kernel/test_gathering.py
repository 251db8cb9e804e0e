"""Reference data larger than memory: however they are cut, the same profile; the whole counted, a sample for scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.support.examples import SCHEMA, mixed_rows, numeric_schema
from tidegauge import gathering
from tidegauge.baseline import BaselineProfile
from tidegauge.blocks import Block, MatrixSource, even_blocks
from tidegauge.errors import InvalidBaseline
from tidegauge.features import FeatureSchema, Matrix
from tidegauge.sampling import EvenSample


@dataclass
class Cut:
    """A matrix in blocks of the sizes given, then of the last of them; later passes may lose rows."""

    matrix: Matrix
    sizes: tuple[int, ...]
    schema: FeatureSchema
    prediction_schema: FeatureSchema | None = None
    lost_in_later_passes: int = 0
    passes: int = field(default=0)

    def blocks(self) -> Iterator[Block]:
        self.passes += 1
        rows = self.matrix if self.passes == 1 else self.matrix[self.lost_in_later_passes :]
        start = 0
        for size in [*self.sizes, *[self.sizes[-1]] * len(rows)]:
            if start < len(rows):
                yield Block(rows[start : start + size].T)
            start += size


@pytest.mark.parametrize("sizes", [(1,), (7, 100, 13), (5000,)])
def test_the_cut_into_blocks_changes_nothing(sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegauge.blocks.BLOCK_ROWS", 64)
    rows = mixed_rows(1000)
    assert BaselineProfile.fit(Cut(rows, sizes, SCHEMA)).dump() == BaselineProfile.fit(rows, SCHEMA).dump()


def test_blocks_are_evened_to_a_size_that_depends_on_the_width_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegauge.blocks.BLOCK_VALUES", 300)
    source = MatrixSource(np.arange(750.0).reshape(250, 3), numeric_schema(3))
    blocks = list(even_blocks(source))
    assert [block.columns.shape for block in blocks] == [(3, 100), (3, 100), (3, 50)]
    np.testing.assert_array_equal(np.hstack([block.columns for block in blocks]).T, source.matrix)
    assert blocks[-1].share == 1.0


def test_data_beyond_the_sample_are_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = mixed_rows(20_000)
    outlier = np.arange(20_000) % 100 == 3
    whole = BaselineProfile.fit(rows, SCHEMA, outlier=outlier)
    monkeypatch.setattr(gathering, "SAMPLE_ROWS", 5000)
    monkeypatch.setattr("tidegauge.blocks.BLOCK_ROWS", 512)
    sampled = BaselineProfile.fit(rows, SCHEMA, outlier=outlier)
    assert (sampled.rows, sampled.outliers) == (20_000, 200)
    assert sampled.scoring.known_outliers.rows == 200
    held_out = sampled.scoring.held_out_of(sampled.scoring.ordered(None)).n
    assert held_out == pytest.approx(5000 * 0.99 / 2, abs=30)
    for of_whole, of_sample in zip(whole.references, sampled.references, strict=True):
        assert of_sample.counts.sum() == 20_000
        assert (of_sample.low, of_sample.high, of_sample.missing) == (of_whole.low, of_whole.high, of_whole.missing)
        assert of_sample.mean is None or of_sample.mean == pytest.approx(of_whole.mean, rel=1e-12)
        assert of_sample.sd is None or of_sample.sd == pytest.approx(of_whole.sd, rel=1e-12)
    height = sampled.references[0]
    assert height.counts[[0, -2]].tolist() == [0, 0]  # the open ends: nothing in the data is beyond its own range
    assert height.counts[1:-2].min() > 20_000 / 16 / 2


def test_a_feature_that_the_sample_missed_has_a_range_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "SAMPLE_ROWS", 200)
    rows = np.random.default_rng(1).normal(size=(20_000, 2))
    rows[:, 1] = np.nan
    rows[[2, 19_000], 1] = (-5.0, 7.0)
    rare = BaselineProfile.fit(rows, numeric_schema(2)).references[1]
    assert (rare.low, rare.high, rare.counts.sum(), rare.counts[-1]) == (-5.0, 7.0, 20_000, 19_998)


def test_a_large_offset_costs_no_digits() -> None:
    rows = np.random.default_rng(2).normal(size=(3000, 1))
    reference = BaselineProfile.fit(rows + 1e9, numeric_schema(1)).references[0]
    assert reference.sd == pytest.approx(rows.std(), rel=1e-6)
    assert reference.mean == pytest.approx(1e9 + rows.mean(), rel=1e-15)


def test_data_that_change_between_two_readings_are_refused() -> None:
    source = Cut(mixed_rows(1000), (100,), SCHEMA, lost_in_later_passes=10)
    with pytest.raises(InvalidBaseline, match="changed while they were read"):
        BaselineProfile.fit(source)


def sampled(rows: int, most: int, block: int) -> Matrix:
    sample = EvenSample(1, most)
    for start in range(0, rows, block):
        sample.add(np.arange(start, min(start + block, rows), dtype=float)[None])
    return sample.rows()


def test_a_sample_with_room_for_all_rows_has_them_all_in_order() -> None:
    np.testing.assert_array_equal(sampled(100, 100, 7)[:, 0], np.arange(100))
    assert EvenSample(3, 5).rows().shape == (0, 3)


@pytest.mark.parametrize("rows", [1001, 5000, 123_456])
def test_a_sample_is_of_its_size_and_spread_evenly(rows: int) -> None:
    taken = sampled(rows, 1000, 97)[:, 0]
    assert len(taken) == pytest.approx(1000, abs=15)
    assert (np.diff(taken) > 0).all()
    in_tenths, _ = np.histogram(taken, bins=10, range=(0, rows))
    assert (np.abs(in_tenths - len(taken) / 10) < 12).all()
    assert abs((taken % 2).mean() - 0.5) < 0.02
    np.testing.assert_array_equal(taken, sampled(rows, 1000, 1013)[:, 0])
