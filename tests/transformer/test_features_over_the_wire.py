"""Values of every kind, in every form that requests may have, through a running transformer to their records."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.topics import records_of
from tidegauge import features
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.records import InferenceRecord
from transformer import parse

PREDICT, INFER = "/v1/models/sums:predict", "/v2/models/sums/infer"

SCHEMA = FeatureSchema(
    (
        FeatureSpec("height"),
        FeatureSpec("colour", "categorical", ("blue", "red")),
        FeatureSpec("size", "categorical", (1, 2, 3)),
        FeatureSpec("open", "boolean"),
    )
)


@pytest.fixture(scope="module")
def mixed_profile() -> BaselineProfile:
    rng = np.random.default_rng(3)
    n = 2000
    columns = [rng.normal(170.0, 10.0, n), rng.integers(0, 2, n), rng.integers(0, 3, n), rng.integers(0, 2, n)]
    return BaselineProfile.fit(np.column_stack(columns).astype(float), SCHEMA)


@dataclass(frozen=True)
class Case:
    """features: of the record, None where the request cannot be read."""

    body: bytes
    features: list[list[object]] | None
    issues: dict[str, int]
    path: str = PREDICT
    json_length: int | None = None


def v1(document: Any, rows: list[list[object]] | None, **issues: int) -> Case:
    return Case(document if isinstance(document, bytes) else json.dumps(document).encode(), rows, issues)


def v2(tensors: Any, rows: list[list[object]] | None, **issues: int) -> Case:
    return Case(json.dumps({"inputs": tensors}).encode(), rows, issues, INFER)


def binary(tensors: Any, data: bytes, rows: list[list[object]] | None, **issues: int) -> Case:
    document = json.dumps({"inputs": tensors}).encode()
    return Case(document + data, rows, issues, INFER, len(document))


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def packed(name: str, datatype: str, shape: list[int], size: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def texts(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value.encode() for value in values)


USUAL: list[object] = [171.5, "red", 2, True]
NAMED = dict(zip(SCHEMA.names, USUAL, strict=True))
NOTHING: list[object] = [None] * 4
CODED = np.array([[171.5, 2.0, 1.0], [168.0, 3.0, 0.0]], dtype="<f4")
COLOURS = texts("red", "blue")

CASES: dict[str, Case] = {
    "v1 rows": v1({"instances": [USUAL, [160, "blue", 1, 0]]}, [USUAL, [160.0, "blue", 1, False]]),
    "v1 named rows in another order": v1({"instances": [dict(reversed(NAMED.items()))]}, [USUAL]),
    "v1 columns": v1({"inputs": {name: [value, value] for name, value in NAMED.items()}}, [USUAL, USUAL]),
    "v1 missing values": v1({"instances": [[None, None, None, None], USUAL]}, [NOTHING, USUAL], missing_value=4),
    "v1 names missing and unknown": v1(
        {"instances": [{"height": 171.5, "weight": 1}]},
        [[171.5, None, None, None]],
        missing_feature=3,
        unknown_feature=1,
    ),
    "v1 columns missing, short and unknown": v1(
        {"inputs": {"height": [1.5, 2.5], "colour": ["red"], "weight": [1, 2]}},
        [[1.5, "red", None, None], [2.5, None, None, None]],
        missing_feature=2,
        unknown_feature=1,
        wrong_width=1,
    ),
    "v1 unseen categories": v1(
        {"instances": [[171.5, "pink", 9, True]]}, [[171.5, "<unseen>", "<unseen>", True]], unseen_category=2
    ),
    "v1 categories of the other type": v1(
        {"instances": [[171.5, 1, "1", True]]}, [[171.5, "<unseen>", "<unseen>", True]], unseen_category=2
    ),
    "v1 wrong types": v1({"instances": [["171.5", True, 1.5, "yes"]]}, [NOTHING], wrong_type=4),
    "v1 nested junk": v1({"instances": [[[171.5], {"red": 1}, [[]], {}]]}, [NOTHING], wrong_type=4),
    "v1 booleans that are none": v1({"instances": [[171.5, "red", 2, 2]]}, [[171.5, "red", 2, None]], wrong_type=1),
    "v1 wrong widths": v1(
        {"instances": [USUAL, [1.0], [], [*USUAL, 1]]}, [USUAL, NOTHING, NOTHING, NOTHING], wrong_width=3
    ),
    "v1 rows that are none": v1({"instances": [USUAL, 5, "red", None]}, [USUAL, *[NOTHING] * 3], wrong_width=3),
    "v1 NaN and infinities": v1(
        b'{"instances": [[NaN, "red", 2, true], [-Infinity, "red", 2, NaN]]}',
        [[None, "red", 2, True], [None, "red", 2, None]],
        non_finite=3,
    ),
    "v1 numbers beyond the range": v1(
        b'{"instances": [[1e400, "red", 2, true], [1' + b"0" * 400 + b', "red", 2, true]]}',
        [[None, "red", 2, True]] * 2,
        non_finite=2,
    ),
    "v1 huge whole number": v1(
        {"instances": [[10**30, "red", 10**30, True]]}, [[1e30, "red", "<unseen>", True]], unseen_category=1
    ),
    "v1 no rows": v1({"instances": []}, None),
    "v1 no instances": v1({"rows": [USUAL]}, None, no_instances=1),
    "v1 instances of text": v1({"instances": "171.5"}, None, not_rows=1),
    "v1 a list": v1([USUAL], None, not_an_object=1),
    "v1 cut": v1(b'{"instances": [[171.5, "re', None, not_json=1),
    "v2 nested rows of mixed values": v2([tensor("x", "BYTES", [1, 4], [USUAL])], [USUAL]),
    "v2 flat rows": v2([tensor("x", "FP64", [2, 4], [*USUAL, *USUAL])], [USUAL, USUAL]),
    "v2 one row as a vector": v2([tensor("x", "FP64", [4], USUAL)], [USUAL]),
    "v2 a tensor a feature": v2(
        [
            tensor("height", "FP64", [2], [171.5, None]),
            tensor("colour", "BYTES", [2, 1], ["red", "pink"]),
            tensor("size", "INT64", [2, 1], [[2], [3]]),
            tensor("open", "BOOL", [2], [True, 0]),
        ],
        [USUAL, [None, "<unseen>", 3, False]],
        missing_value=1,
        unseen_category=1,
    ),
    "v2 one feature alone": v2(
        [tensor("height", "FP64", [2], [1.5, 2.5])],
        [[1.5, None, None, None], [2.5, None, None, None]],
        missing_feature=3,
    ),
    "v2 batch of a table": v2([tensor("x", "FP64", [1, 1, 4], USUAL)], None, wrong_shape=1),
    "v2 data that do not fill the shape": v2([tensor("x", "FP64", [2, 4], USUAL)], None, wrong_shape=1),
    "v2 no data": v2([{"name": "x", "shape": [1, 4], "datatype": "FP64"}], None, not_rows=1),
    "v2 binary, whole numbers as floats": binary(
        [
            packed("colour", "BYTES", [2], len(COLOURS)),
            packed("height", "FP32", [2], 8),
            packed("size", "FP32", [2, 1], 8),
            packed("open", "BOOL", [2], 2),
        ],
        COLOURS + CODED[:, 0].tobytes() + CODED[:, 1].tobytes() + b"\1\0",
        [USUAL, [168.0, "blue", 3, False]],
    ),
    "v2 binary NaN": binary(
        [packed("x", "FP64", [1, 4], 32)],
        np.array([np.nan, np.inf, 2.0, 1.0]).tobytes(),
        [[None, None, 2, True]],
        non_finite=2,
    ),
    "v2 binary cut": binary([packed("x", "FP64", [1, 4], 32)], b"\0" * 31, None, binary_tensor=1),
}


@pytest.fixture(scope="module")
def served(
    serve_monitor: Callable[..., Any], mixed_profile: BaselineProfile, constant_predictor: Any, shared_broker: str
) -> tuple[dict[str, httpx.Response], dict[str, InferenceRecord], dict[str, float]]:
    """Answers and records by case, and the metrics after them."""
    body = b'{"predictions": [1]}'
    constant_predictor.says = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    program = serve_monitor(mixed_profile, "wire")
    answers = {}
    with httpx.Client(base_url=program.url, timeout=20) as client:
        for name, case in CASES.items():
            headers = {"x-request-id": name, "content-type": "application/json"}
            if case.json_length is not None:
                headers["inference-header-content-length"] = str(case.json_length)
            answers[name] = client.post(case.path, content=case.body, headers=headers)
        records = records_of(shared_broker, "wire", CASES)
        lines = client.get("/metrics").text.splitlines()
    metrics = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}
    assert [asked.body for asked in constant_predictor.asked] == [case.body for case in CASES.values()]
    return answers, records, metrics


@pytest.mark.parametrize("name", CASES)
def test_what_came_is_in_the_record_and_what_could_not_be_used_is_counted(name: str, served: Any) -> None:
    answers, records, _ = served
    case, record = CASES[name], records[name]
    assert record.features == case.features
    assert record.issues == case.issues
    assert answers[name].status_code == 200
    assert len(record.outlier) == record.rows == len(case.features or [])
    verdict = ",".join(str(int(outlier)) for outlier in record.outlier) or "unknown"
    assert answers[name].headers["x-outlier"] == verdict


def test_issues_are_counted_by_kind_of_a_bounded_set(served: Any) -> None:
    _, _, metrics = served
    prefix = 'tidegauge_issues_total{kind="'
    counted = {name.removeprefix(prefix)[:-2]: int(value) for name, value in metrics.items() if name.startswith(prefix)}
    kinds = {kind for case in CASES.values() for kind in case.issues}
    assert counted == {kind: sum(kind in case.issues for case in CASES.values()) for kind in kinds}
    assert set(counted) <= {*features.ISSUES, *parse.ISSUES}
