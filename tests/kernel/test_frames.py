"""Whatever form the same rows come in, the same profile comes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import tidegauge
from tidegauge.baseline import BaselineProfile
from tidegauge.errors import InvalidBaseline
from tidegauge.features import UNSEEN, FeatureSchema, FeatureSpec
from tidegauge.frames import as_source

ROWS = 400


def columns() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "height": [None if position % 50 == 0 else value for position, value in enumerate(rng.normal(170, 10, ROWS))],
        "doors": rng.integers(2, 6, ROWS),
        "colour": [None if position % 70 == 0 else ["red", "green", "blue"][position % 3] for position in range(ROWS)],
        "open": rng.random(ROWS) < 0.2,
        "fault": rng.random(ROWS) < 0.05,
        "answer": rng.random(ROWS),
    }


def matrix_of(data: dict[str, Any]) -> np.ndarray[Any, Any]:
    codes = {None: np.nan, "blue": 0.0, "green": 1.0, "red": 2.0}
    colour = [codes[value] for value in data["colour"]]
    height = [np.nan if value is None else value for value in data["height"]]
    return np.column_stack([height, data["doors"], colour, data["open"]]).astype(float)


SCHEMA = FeatureSchema(
    (
        FeatureSpec("height"),
        FeatureSpec("doors"),
        FeatureSpec("colour", "categorical", ("blue", "green", "red")),
        FeatureSpec("open", "boolean"),
    )
)


class OtherFrame:
    """A frame of a library that is not installed: all that is asked of it is Arrow's stream."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def forms() -> dict[str, Any]:
    data = columns()
    table = pa.table({name: pa.array(values) for name, values in data.items()})
    shuffled = pd.DataFrame(data).iloc[::-1].iloc[::-1]  # an index that is no range of numbers
    shuffled.index = pd.Index([f"row {number}" for number in range(ROWS)])
    coded = table.set_column(2, "colour", table["colour"].dictionary_encode())
    views = table.set_column(2, "colour", table["colour"].cast(pa.string_view()))
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7, 0), table.slice(7)])
    return {
        "mapping": data,
        "arrow": table,
        "arrow-in-pieces": chunked,
        "dictionary": coded,
        "string-views": views,
        "dictionary-of-views": table.set_column(2, "colour", _of_views(table["colour"])),
        "pandas": shuffled,
        "pandas-category": shuffled.astype({"colour": "category"}),
        "another-library": OtherFrame(table),
        "record-batches": pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
    }


def _of_views(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """As Polars gives its categories."""
    coded = column.combine_chunks().dictionary_encode()
    return pa.chunked_array(
        [pa.DictionaryArray.from_arrays(coded.indices.cast(pa.uint32()), coded.dictionary.cast(pa.string_view()))]
    )


@pytest.fixture(scope="module")
def of_matrix() -> BaselineProfile:
    data = columns()
    return BaselineProfile.fit(
        matrix_of(data), SCHEMA, outlier=np.asarray(data["fault"]), predictions=np.asarray(data["answer"])
    )


@pytest.mark.parametrize("form", sorted(forms()))
def test_every_form_of_the_same_rows_gives_the_same_bytes(form: str, of_matrix: BaselineProfile) -> None:
    profile = tidegauge.BaselineProfile.fit(forms()[form], outlier="fault", predictions="answer")
    assert profile.schema == SCHEMA
    assert profile.references[2].missing == 6
    assert profile.prediction_schema == FeatureSchema((FeatureSpec("answer"),))
    assert of_matrix.prediction_schema == FeatureSchema((FeatureSpec("prediction"),))
    document = profile.dump().replace(b'"name":"answer"', b'"name":"prediction"')
    assert document == of_matrix.dump()


def test_predictions_are_kept_apart_from_the_features(of_matrix: BaselineProfile) -> None:
    loaded = BaselineProfile.load(of_matrix.dump())
    for profile in (of_matrix, loaded):
        (answer,) = profile.predictions
        assert (answer.rows, answer.missing) == (ROWS, 0)
        assert answer.mean == pytest.approx(np.mean(columns()["answer"]))
        assert answer.counts.sum() == ROWS
        assert len(profile.references) == len(profile.schema) == 4
    assert loaded.prediction_schema == of_matrix.prediction_schema


def test_a_schema_takes_the_columns_it_names_in_its_order_with_its_categories() -> None:
    schema = FeatureSchema((FeatureSpec("colour", "categorical", ("green", "blue")), FeatureSpec("doors")))
    (block,) = as_source(columns(), schema).blocks()
    names = columns()["colour"]
    expected = [np.nan if name is None else {"green": 0.0, "blue": 1.0}.get(name, UNSEEN) for name in names]
    np.testing.assert_array_equal(block.columns[0], expected)
    np.testing.assert_array_equal(block.columns[1], columns()["doors"])


def test_whole_numbers_are_names_where_that_is_said() -> None:
    profile = BaselineProfile.fit(columns(), exclude=["colour"], categorical=["doors"])
    assert profile.schema.features[1] == FeatureSpec("doors", "categorical", (2, 3, 4, 5))


def test_a_matrix_without_a_schema_has_numbered_features() -> None:
    profile = BaselineProfile.fit(np.random.default_rng(2).normal(size=(300, 2)).astype(np.float32))
    assert profile.schema.names == ("f0", "f1")


def test_several_outputs_are_numbered() -> None:
    rng = np.random.default_rng(3)
    profile = BaselineProfile.fit(rng.normal(size=(300, 2)), predictions=rng.random((300, 3)))
    assert profile.prediction_schema is not None
    assert profile.prediction_schema.names == ("prediction_0", "prediction_1", "prediction_2")


def test_marks_and_predictions_may_stand_beside_a_frame() -> None:
    data = columns()
    fault = data.pop("fault")
    answer = data.pop("answer")
    beside = BaselineProfile.fit(data, outlier=fault.astype(int), predictions=answer)
    assert (beside.outliers, len(beside.predictions)) == (fault.sum(), 1)


def test_a_source_is_taken_as_it_is(of_matrix: BaselineProfile) -> None:
    data = columns()
    source = as_source(matrix_of(data), SCHEMA, outlier=data["fault"], predictions=data["answer"])
    assert BaselineProfile.fit(source).dump() == of_matrix.dump()


def test_only_some_detectors_are_fitted_where_that_is_asked_for() -> None:
    rows = np.random.default_rng(4).normal(size=(300, 2))
    assert list(BaselineProfile.fit(rows, detectors=["tail"]).scoring.detectors) == ["tail"]
    with pytest.raises(InvalidBaseline, match="no detector psychic; there are tail"):
        BaselineProfile.fit(rows, detectors=["psychic"])
    with pytest.raises(InvalidBaseline, match="no detector at all"):
        BaselineProfile.fit(rows, detectors=[])


@pytest.mark.parametrize("share", [-0.1, 0.5, float("nan")])
def test_a_contamination_must_be_a_share(share: float) -> None:
    with pytest.raises(InvalidBaseline, match="contamination"):
        BaselineProfile.fit(np.zeros((300, 2)), contamination=share)


def test_progress_is_told_to_its_end() -> None:
    told: dict[str, float] = {}
    BaselineProfile.fit(np.random.default_rng(5).normal(size=(300, 2)), progress=told.__setitem__)
    assert (told["reading"], told["counting"]) == (1.0, 1.0)
    assert "fitting detectors" in told


def with_column(name: str, values: Any) -> dict[str, Any]:
    return {"height": np.arange(ROWS), name: values}


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        pytest.param(object(), {}, "cannot read object: expected a frame", id="no-frame"),
        pytest.param(with_column("a", [1] * (ROWS - 1)), {}, "the frame cannot be read", id="short-column"),
        pytest.param(
            pd.DataFrame(with_column("a", [1, "x"] * 200)), {}, "column a|Column a|cannot be read", id="mixed"
        ),
        pytest.param(np.array([["a", "b"]]), {}, "a matrix of <U1", id="texts-in-a-matrix"),
        pytest.param(np.zeros(5), {}, "at least one feature", id="no-matrix"),
        pytest.param(np.zeros((5, 2)), {"exclude": ["a"]}, "a matrix has no column names", id="names-in-a-matrix"),
        pytest.param(columns(), {"exclude": ["b"]}, "the frame has no column b; it has height", id="absent"),
        pytest.param(columns(), {"outlier": "answer"}, "column answer: expected only true and false", id="no-marks"),
        pytest.param(columns(), {"outlier": "colour"}, "column colour: expected only true", id="texts-as-marks"),
        pytest.param(columns(), {"outlier": np.zeros(3)}, "3 outlier marks for 400 rows", id="few-marks"),
        pytest.param(columns(), {"outlier": np.full(ROWS, 2)}, "outlier marks: expected only", id="other-marks"),
        pytest.param(columns(), {"predictions": np.zeros((3, 1))}, r"predictions of shape \(3, 1\)", id="few-outputs"),
        pytest.param(
            columns(), {"categorical": ["height"]}, "column height is of type double", id="names-in-fractions"
        ),
        pytest.param(with_column("a", [[1]] * ROWS), {}, "column a is of type list", id="lists"),
        pytest.param(with_column("a", [None] * ROWS), {}, "column a has no value at all", id="nothing"),
        pytest.param(
            with_column("a", [f"t{n}" for n in range(1001)]) | {"height": np.arange(1001)},
            {},
            "column a has more than 1000 different values",
            id="free-text",
        ),
        pytest.param(
            columns(),
            {"schema": FeatureSchema((FeatureSpec("doors", "boolean"),))},
            "column doors: expected only true and false",
            id="no-boolean",
        ),
        pytest.param(
            columns(),
            {"schema": FeatureSchema((FeatureSpec("colour"),))},
            "column colour is categorical, the schema says numeric",
            id="another-kind",
        ),
        pytest.param(
            pa.Table.from_arrays([pa.array([1.0] * ROWS)] * 2, names=["a", "a"]),
            {},
            "the frame has several columns named a",
            id="one-name-twice",
        ),
        pytest.param(as_source(np.zeros((5, 2))), {"exclude": ["a"]}, "give it alone", id="source-and-more"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(data: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidBaseline, match=message):
        BaselineProfile.fit(data, **options)


def test_without_pyarrow_a_matrix_can_be_fitted_and_a_frame_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert BaselineProfile.fit(np.random.default_rng(6).normal(size=(300, 1)), detectors=["tail"]).rows == 300
    with pytest.raises(InvalidBaseline, match=r"pip install 'tidegauge\[fit\]'"):
        BaselineProfile.fit({"a": [1.0]})


def test_the_package_gives_its_public_names_and_no_others() -> None:
    assert {name: getattr(tidegauge, name) is not None for name in tidegauge.__all__} == dict.fromkeys(
        tidegauge.__all__, True
    )
    with pytest.raises(AttributeError, match="no attribute 'Baseline'"):
        tidegauge.Baseline  # type: ignore[attr-defined]  # noqa: B018
