"""What of a request is in its record: sampling, headers, payloads, redaction, and records that are too long."""

from __future__ import annotations

import asyncio
import base64
import hmac
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import make_record, mixed_profile, monitor_document
from tests.transformer.test_records_of_requests import Kept, Parts
from tidegauge.baseline import BaselineProfile
from tidegauge.binning import count_bins
from tidegauge.capture_spec import Capture
from tidegauge.features import UNSEEN_NAME
from tidegauge.lots import is_drawn
from tidegauge.monitor import parse_monitor
from transformer.arguments import InvalidSettings
from transformer.captured import HEADER_CHARACTERS, Captured, representatives, rules
from transformer.enrich import encode_within

KEY = "a key of at least 16 bytes"
ROW = [0.1, 0.2, 0.3]


def section(**capture: Any) -> Capture:
    return parse_monitor(monitor_document(capture=capture)).capture


def kept(
    captured: Captured, profile: BaselineProfile, requests: list[tuple[Any, dict[str, bytes]]]
) -> tuple[Kept, Any]:
    """What was published, and the last account."""

    async def main() -> tuple[Kept, Any]:
        parts = Parts(profile, captured=captured)
        for document, noted in requests:
            parts.answer(parts.arrive(document, **noted))
        await parts.recorder.close(1.0)
        return parts.kept, parts.ledger.account()

    return asyncio.run(main())


def test_outliers_are_always_kept_and_others_by_lot_with_their_weight(profile: BaselineProfile) -> None:
    requests = [({"instances": [ROW]}, {"x_request_id": b"r%d" % at}) for at in range(200)]
    requests += [({"instances": [[50.0, 0.0, 0.0]]}, {"x_request_id": b"odd%d" % at}) for at in range(20)]
    found, account = kept(rules(section(sampleRate=0.25), profile), profile, requests)
    drawn = [f"r{at}" for at in range(200) if is_drawn(f"r{at}", 0.25)]
    assert [record.id for record in found.records] == [*drawn, *(f"odd{at}" for at in range(20))]
    assert {record.weight for record in found.records if record.id in drawn} == {4.0}
    assert {record.weight for record in found.records if record.id not in drawn} == {1.0}
    assert (account.served, account.sampled_out) == (220, 200 - len(drawn))
    assert account.balances()


def test_headers_that_are_listed_are_recorded_short_and_printable(profile: BaselineProfile) -> None:
    noted = {"x_tenant": b"bl\x7fue", "x_long": b"y" * 1000, "x_other": b"z"}
    captured = rules(section(headers=["X-Tenant", "x-long", "x-missing"], labels={"a": "b"}), profile)
    assert captured.noted == {b"x-tenant", b"x-long", b"x-missing"}
    record = kept(captured, profile, [({"instances": [ROW]}, noted)])[0].records[0]
    assert record.headers == {"x-tenant": "bl?ue", "x-long": "y" * HEADER_CHARACTERS}
    assert record.labels == {"a": "b"}


def test_raw_bodies_are_text_or_base64_and_cut_at_a_character(profile: BaselineProfile) -> None:
    captured = rules(section(payload="raw", maxBodyBytes=40), profile)
    text = '{"instances": [[0.1, 0.2, 0.3]], "name": "Grünwald, the very long name"}'.encode()
    for at in range(40, 46):
        cut = rules(section(payload="raw", maxBodyBytes=at), profile)
        raw = kept(cut, profile, [(text, {})])[0].records[0].raw
        assert raw is not None
        request = raw["request"]
        assert isinstance(request, dict)
        assert request["encoding"] == "text" and request["bytes"] == len(text)
        assert text.startswith(request["data"].encode()) and at - 3 <= len(request["data"].encode()) <= at
    raw = kept(captured, profile, [(b"\xff\xfe{", {})])[0].records[0].raw
    assert raw is not None
    assert raw["request"] == {"encoding": "base64", "data": base64.b64encode(b"\xff\xfe{").decode(), "bytes": 3}
    assert raw["answer"] == {"encoding": "text", "data": '{"predictions": [1]}', "bytes": 20}


def test_tokens_are_equal_for_equal_values_and_different_between_features() -> None:
    profile = mixed_profile()
    names = profile.schema.names
    redact = {name: {"hash": "KEY"} for name in names}
    captured = rules(section(redact=redact), profile, {"KEY": KEY})
    matrix = np.array([[1.5, 1.0, 1.0], [1.5, 0.0, -1.0], [np.nan, 1.0, 1.0]])[:, : len(names)]
    rows = captured.features(_scored(matrix))
    assert rows is not None
    decoded = profile.schema.decode_rows(matrix)
    expected = hmac.digest(KEY.encode(), names[0].encode() + b"\0" + orjson.dumps(decoded[0][0]), "sha256").hex()[:32]
    assert rows[0][0] == rows[1][0] == expected
    assert rows[2][0] is None
    assert len({rows[0][at] for at in range(len(names))}) == len(names)
    unseen = [at for at, value in enumerate(decoded[1]) if value == UNSEEN_NAME]
    assert all(rows[1][at] == UNSEEN_NAME for at in unseen)
    assert captured.top(_scored(matrix)) == [[], [], []]


def _scored(matrix: Any) -> Any:
    from transformer.served import Scored

    names = mixed_profile().schema.names
    return Scored(matrix, {}, {}, [False] * len(matrix), [[(names[0], 1.0)]] * len(matrix))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30, unique=True), st.floats(allow_infinity=False))
def test_a_bucketed_value_is_another_of_the_same_bin(edges: list[float], value: float) -> None:
    inner = np.sort(np.array(edges))
    middles = representatives(inner)
    if not np.isnan(value):
        place = int(np.searchsorted(inner, value, side="right"))
        assert count_bins(inner, middles[[place]]).tolist() == count_bins(inner, np.array([value])).tolist()


@pytest.mark.parametrize(
    ("redact", "environment", "why"),
    [
        ({"nobody": "drop"}, {}, "no such feature"),
        ({"a": {"hash": "KEY"}}, {}, "is empty"),
        ({"a": {"hash": "KEY"}}, {"KEY": "short"}, "has 5 bytes"),
        ({"a": {"hash": {"file": "/nowhere/key"}}}, {}, "mount the secret there"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_what_to_do(
    profile: BaselineProfile, redact: dict[str, Any], environment: dict[str, str], why: str
) -> None:
    with pytest.raises(InvalidSettings, match=why):
        rules(section(redact=redact), profile, environment)


def test_only_numbers_can_be_bucketed() -> None:
    profile = mixed_profile()
    kinds = {feature.kind: feature.name for feature in profile.schema.features}
    with pytest.raises(InvalidSettings, match="bucket is for numeric features"):
        rules(section(redact={kinds["categorical"]: "bucket"}), profile)


def test_a_key_may_be_in_a_file(profile: BaselineProfile, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    from_file = rules(section(redact={"a": {"hash": {"file": str(tmp_path / "key")}}}), profile)
    from_environment = rules(section(redact={"a": {"hash": "KEY"}}), profile, {"KEY": KEY})
    rows = [
        kept(captured, profile, [({"instances": [ROW]}, {})])[0].records[0].features
        for captured in (from_file, from_environment)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("predictions", [list(range(400)), {"y": list(range(800))}, [1], "text", None])
def test_a_record_that_is_too_long_keeps_rows_from_all_parts_of_the_request(predictions: Any) -> None:
    record = make_record(
        rows=400,
        features=[[float(at)] * 30 for at in range(400)],
        predictions=predictions,
        scores={"tail": [0.5] * 400},
        p_values={"combined": [0.5] * 400},
        outlier=[False] * 400,
        top=[[["a", 1.0]]] * 400,
    )
    shorter, data = encode_within(record, 20_000)
    assert len(data) <= 20_000
    assert 0 < shorter.rows < 400
    assert shorter.issues["rows_not_recorded"] == 400 - shorter.rows
    step = -(-400 // shorter.rows)
    assert shorter.features is not None
    assert [row[0] for row in shorter.features] == [float(at) for at in range(0, 400, step)]
    if predictions == list(range(400)):
        assert shorter.predictions == list(range(0, 400, step))
    assert encode_within(record, 10_000_000)[0] is record


def test_a_record_whose_one_row_is_too_long_goes_without() -> None:
    record = make_record(rows=1, features=[["x" * 30_000]], outlier=[False])
    shorter, data = encode_within(record, 20_000)
    assert (shorter.rows, shorter.features, shorter.issues["rows_not_recorded"]) == (0, None, 1)
    assert len(data) <= 20_000
