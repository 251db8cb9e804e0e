"""Messages of the inference topic: what is written is read again, and what is no message is refused with a reason."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import make_heartbeat, make_record
from tidegauge.errors import InvalidRecord
from tidegauge.records import (
    INVALID_REASONS,
    Account,
    Heartbeat,
    InferenceRecord,
    decode,
    encode_heartbeat,
    encode_record,
    whole_second,
)

TEXTS = st.text(max_size=8)
COUNTS = st.integers(0, 2**53)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBERS | TEXTS
JSON = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))

RECORDS = st.builds(
    make_record,
    id=TEXTS,
    time_ms=COUNTS,
    replica=TEXTS,
    seq=COUNTS,
    latency_ms=NUMBERS,
    features=st.none() | st.lists(st.lists(VALUES, max_size=3), max_size=3),
    predictions=JSON,
    scores=st.dictionaries(TEXTS, st.lists(NUMBERS, max_size=3), max_size=2),
    p_values=st.dictionaries(TEXTS, st.lists(NUMBERS, max_size=3), max_size=2),
    outlier=st.lists(st.booleans(), max_size=3),
    top=st.lists(st.lists(st.tuples(TEXTS, NUMBERS).map(list), max_size=3), max_size=3),
    issues=st.dictionaries(TEXTS, COUNTS, max_size=3),
    traceparent=st.none() | TEXTS,
    weight=st.floats(1.0, 1e6),
    headers=st.dictionaries(TEXTS, TEXTS, max_size=2),
    labels=st.dictionaries(TEXTS, TEXTS, max_size=2),
)
ACCOUNTS = st.builds(
    Account,
    served=COUNTS,
    acknowledged=COUNTS,
    dropped=st.dictionaries(TEXTS, COUNTS, max_size=3),
    sampled_out=COUNTS,
    in_flight=COUNTS,
    spooled=COUNTS,
)
HEARTBEATS = st.builds(make_heartbeat, time_ms=COUNTS, seq=COUNTS, account=ACCOUNTS, final=st.booleans())


@given(record=RECORDS)
def test_a_record_survives_the_wire(record: InferenceRecord) -> None:
    assert decode(encode_record(record)) == record


@given(heartbeat=HEARTBEATS)
def test_a_heartbeat_survives_the_wire(heartbeat: Heartbeat) -> None:
    assert decode(encode_heartbeat(heartbeat)) == heartbeat


def test_a_records_arrays_are_written_as_lists() -> None:
    record = make_record(scores={"tail": np.array([1.5, 2.5])}, outlier=np.array([True, False]))
    decoded = decode(encode_record(record))
    assert isinstance(decoded, InferenceRecord)
    assert decoded.scores == {"tail": [1.5, 2.5]}
    assert decoded.outlier == [True, False]


def test_what_json_cannot_say_of_a_number_is_null() -> None:
    record = make_record(predictions=[math.nan, math.inf], scores={"tail": np.array([np.nan])})
    assert json.loads(encode_record(record))["predictions"] == [None, None]
    assert json.loads(encode_record(record))["scores"] == {"tail": [None]}


def test_a_prediction_that_json_cannot_hold_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        encode_record(make_record(predictions=object()))


def test_fields_of_a_later_writer_are_ignored() -> None:
    document = json.loads(encode_record(make_record())) | {"colour_of_the_sky": "blue"}
    assert decode(json.dumps(document).encode()) == decode(encode_record(make_record()))


def test_what_a_record_may_leave_out_has_its_default() -> None:
    document = json.loads(encode_record(make_record()))
    for name in ("features", "predictions", "scores", "p_values", "outlier", "top", "issues", "weight", "headers"):
        del document[name]
    record = decode(json.dumps(document).encode())
    assert isinstance(record, InferenceRecord)
    assert record.features is None
    assert (record.weight, dict(record.issues), list(record.outlier)) == (1.0, {}, [])


RECORD = json.loads(encode_record(make_record()))
HEARTBEAT = json.loads(encode_heartbeat(make_heartbeat()))


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        pytest.param(b"", "not_json", "", id="empty"),
        pytest.param(b"{", "not_json", "", id="cut-off"),
        pytest.param(b"\xff\xfe", "not_json", "", id="binary"),
        pytest.param(b"[1]", "not_an_object", "list", id="list"),
        pytest.param(b"null", "not_an_object", "NoneType", id="null"),
        pytest.param(RECORD | {"v": 2}, "unknown_version", "v = 2, this reader knows 1", id="version-to-come"),
        pytest.param({"kind": "inference"}, "unknown_version", "v = None", id="no-version"),
        pytest.param(RECORD | {"kind": "poem"}, "unknown_kind", "kind = 'poem'", id="poem"),
        pytest.param({"v": 1}, "unknown_kind", "kind = None", id="no-kind"),
        pytest.param({k: v for k, v in RECORD.items() if k != "seq"}, "missing_field", "seq", id="no-seq"),
        pytest.param(
            {k: v for k, v in HEARTBEAT.items() if k != "account"}, "missing_field", "account", id="no-account"
        ),
        pytest.param(RECORD | {"seq": "1"}, "wrong_type", "seq is str", id="seq-as-text"),
        pytest.param(RECORD | {"seq": True}, "wrong_type", "seq is bool", id="seq-as-boolean"),
        pytest.param(RECORD | {"seq": 1.0}, "wrong_type", "seq is float", id="seq-as-fraction"),
        pytest.param(RECORD | {"latency_ms": True}, "wrong_type", "latency_ms is bool", id="latency-as-boolean"),
        pytest.param(RECORD | {"features": {}}, "wrong_type", "features is dict", id="features-as-object"),
        pytest.param(RECORD | {"weight": 0}, "wrong_type", "weight is not a positive number", id="weight-zero"),
        pytest.param(RECORD | {"weight": -1.5}, "wrong_type", "weight is not a positive number", id="weight-negative"),
        pytest.param(RECORD | {"issues": {"wrong_type": "many"}}, "wrong_type", "issues has", id="issues-as-text"),
        pytest.param(RECORD | {"issues": {"wrong_type": -1}}, "wrong_type", "issues has", id="negative-issues"),
        pytest.param(HEARTBEAT | {"final": 1}, "wrong_type", "final is int", id="final-as-number"),
        pytest.param(HEARTBEAT | {"account": {"served": "9"}}, "wrong_type", "served is str", id="account-as-text"),
        pytest.param(
            HEARTBEAT | {"account": {"dropped": {"full": None}}}, "wrong_type", "dropped has", id="dropped-nothing"
        ),
    ],
)
def test_what_is_no_message_is_refused_with_a_bounded_reason(data: Any, reason: str, detail: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        decode(data if isinstance(data, bytes) else json.dumps(data).encode())
    assert caught.value.reason == reason
    assert caught.value.reason in INVALID_REASONS
    assert detail in caught.value.detail
    assert str(caught.value) == f"{reason}: {caught.value.detail}"


@given(data=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        decode(data)
    except InvalidRecord as error:
        assert error.reason in INVALID_REASONS


@given(field=st.sampled_from(sorted(RECORD)), value=JSON)
def test_no_value_of_a_field_raises_anything_else(field: str, value: object) -> None:
    for message in (RECORD, HEARTBEAT):
        try:
            decode(json.dumps(message | {field: value}).encode())
        except InvalidRecord as error:
            assert error.reason in INVALID_REASONS


@pytest.mark.parametrize(
    ("account", "balances"),
    [
        pytest.param(Account(), True, id="nothing-served"),
        pytest.param(
            Account(served=15, acknowledged=5, dropped={"full": 1, "dead": 2}, sampled_out=3, in_flight=3, spooled=1),
            True,
            id="all-accounted-for",
        ),
        pytest.param(Account(served=15, acknowledged=14), False, id="one-unaccounted-for"),
        pytest.param(Account(served=1, acknowledged=1, dropped={"full": 1}), False, id="one-counted-twice"),
    ],
)
def test_an_account_balances_when_every_request_is_somewhere_once(account: Account, balances: bool) -> None:
    assert account.balances() is balances


def test_heartbeat_boundaries_are_whole_seconds() -> None:
    assert [whole_second(time_ms) for time_ms in (0, 999, 1000, 1001, 1_700_000_001_999)] == [
        0,
        0,
        1000,
        1000,
        1_700_000_001_000,
    ]


def test_a_record_with_fewer_or_further_fields_is_the_same_record() -> None:
    """Other writers' records are looked at field by field, one's own all at once."""
    document = json.loads(encode_record(make_record()))
    shuffled = dict(sorted(document.items())) | {"added_later": 1}
    optional = {name: value for name, value in document.items() if name not in ("headers", "labels", "top")}
    record = decode(json.dumps(document).encode())
    assert decode(json.dumps(shuffled).encode()) == record
    assert replace(decode(json.dumps(optional).encode()), top=[]) == record


@pytest.mark.parametrize(
    ("field", "value"), [("seq", True), ("latency_ms", False), ("rejected", 1), ("features", {}), ("weight", "1")]
)
def test_a_type_that_is_wrong_is_refused_however_often_it_comes(field: str, value: object) -> None:
    data = json.dumps(json.loads(encode_record(make_record())) | {field: value}).encode()
    for _ in range(2):
        with pytest.raises(InvalidRecord, match=field) as refused:
            decode(data)
        assert refused.value.reason == "wrong_type"
