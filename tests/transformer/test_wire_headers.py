from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pytest

from transformer.parse import Rows
from transformer.predictions import target_of
from transformer.served import Remainder, Scored, ServedRequest
from transformer.wire import (
    LISTED_ROWS,
    answer_head,
    noted_headers,
    outlier_headers,
    rejection,
    request_head,
    request_id,
)

TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def scope(*headers: tuple[bytes, bytes], method: str = "POST", path: bytes = b"/p", query: bytes = b"") -> Any:
    return {"method": method, "raw_path": path, "query_string": query, "headers": list(headers)}


def head_of(request: Any, length: int = 4) -> list[bytes]:
    headers, method = request["headers"], request["method"].encode()
    head = request_head(
        method, target_of(request), headers, noted_headers(headers), host=b"predictor:80", length=length
    )
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


def test_every_end_to_end_header_is_passed_on_in_order() -> None:
    request = scope(
        (b"host", b"us"),
        (b"authorization", b"Bearer x"),
        (b"traceparent", TRACEPARENT),
        (b"baggage", b"k=v"),
        (b"x-custom", b"1"),
        (b"x-custom", b"2"),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"4"),
        path=b"/v1/models/a%20b:predict",
        query=b"q=1",
    )
    assert head_of(request) == [
        b"POST /v1/models/a%20b:predict?q=1 HTTP/1.1",
        b"host: predictor:80",
        b"authorization: Bearer x",
        b"traceparent: " + TRACEPARENT,
        b"baggage: k=v",
        b"x-custom: 1",
        b"x-custom: 2",
        b"content-type: application/json; charset=utf-8",
        b"content-length: 4",
    ]


def test_hop_by_hop_headers_stay_here() -> None:
    request = scope(
        (b"connection", b"keep-alive, X-Private"),
        (b"connection", b"x-too"),
        (b"x-private", b"1"),
        (b"x-too", b"1"),
        (b"te", b"trailers"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"expect", b"100-continue"),
        (b"accept", b"*/*"),
    )
    assert head_of(request) == [b"POST /p HTTP/1.1", b"host: predictor:80", b"accept: */*", b"content-length: 4"]


def test_a_get_without_a_body_gets_no_length() -> None:
    assert head_of(scope(method="GET"), length=0) == [b"GET /p HTTP/1.1", b"host: predictor:80"]


def test_an_empty_post_says_that_it_is_empty() -> None:
    assert head_of(scope(), length=0)[-1] == b"content-length: 0"


def test_answers_keep_repeated_headers_and_lose_those_of_the_connection() -> None:
    headers = [
        (b"Set-Cookie", b"a"),
        (b"Connection", b"close, X-Hop"),
        (b"X-Hop", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"set-cookie", b"b"),
        (b"content-encoding", b"gzip"),
    ]
    head = answer_head(headers, status=200)
    assert head.headers == [(b"set-cookie", b"a"), (b"set-cookie", b"b"), (b"content-encoding", b"gzip")]
    assert (head.encoded, head.sized, head.binary, head.names_request) == (True, False, None, False)


def test_the_length_of_what_was_not_modified_is_not_passed_on() -> None:
    head = answer_head([(b"content-length", b"9"), (b"etag", b"x")], status=304)
    assert head.headers == [(b"etag", b"x")]
    assert not head.sized


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-request-id", b"r"), (b"traceparent", TRACEPARENT), (b"ce-id", b"c")], "r"),
        ([(b"traceparent", TRACEPARENT), (b"ce-id", b"c")], "4bf92f3577b34da6a3ce929d0e0e4736"),
        ([(b"traceparent", b"nonsense"), (b"ce-id", b"c")], "c"),
        ([(b"x-request-id", b""), (b"ce-id", b"c")], "c"),
        ([(b"x-request-id", b"caf\xe9")], "caf\xe9"),
    ],
    ids=["x-request-id", "trace id", "ce-id", "empty does not count", "not ASCII"],
)
def test_the_id_comes_from_the_first_header_that_has_one(headers: Any, expected: str) -> None:
    assert request_id(dict(headers)) == expected


@pytest.mark.parametrize("headers", [{}, {b"x-request-id": b"x" * 300}], ids=["none", "over-long"])
def test_without_an_id_there_is_a_new_one(headers: dict[bytes, bytes]) -> None:
    first, second = request_id(headers), request_id(headers)
    assert UUID(first).version == 4 and first != second


def scored(p_values: list[float], outlier: list[bool], name: str = "temp") -> ServedRequest:
    n = len(p_values)
    request = ServedRequest(id="r", seq=1, time_ms=0, started=0.0, protocol="v1", body=b"", rows=n)
    request.scored = Scored(
        matrix=np.zeros((n, 2)),
        scores={"tail": [1.5 + row for row in range(n)]},
        p_values={"tail": p_values, "combined": p_values},
        outlier=outlier,
        top=[[(name, 4.25 + row), ("b", 0.5)] for row in range(n)],
    )
    return request


def not_scored() -> ServedRequest:
    return ServedRequest(id="r", seq=1, time_ms=0, started=0.0, protocol="v1", body=b"")


def test_one_value_a_row_and_the_reasons_of_the_most_surprising_row() -> None:
    assert outlier_headers(scored([0.5, 0.00012, 1.0], [False, True, False]), baseline=b"0123456789ab") == [
        (b"x-outlier", b"0,1,0"),
        (b"x-outlier-p-value", b"0.5,0.00012,1"),
        (b"x-outlier-score-tail", b"1.5,2.5,3.5"),
        (b"x-outlier-top", b"temp=5.25,b=0.5"),
        (b"x-outlier-baseline", b"0123456789ab"),
    ]


def test_many_rows_get_the_most_surprising_one_and_counts() -> None:
    n = LISTED_ROWS + 1
    headers = dict(outlier_headers(scored([0.5] * (n - 1) + [0.001], [False] * (n - 1) + [True]), baseline=b"b"))
    assert headers[b"x-outlier"] == b"1"
    assert headers[b"x-outlier-p-value"] == b"0.001"
    assert headers[b"x-outlier-rows"] == str(n).encode()
    assert headers[b"x-outlier-count"] == b"1"


def test_headers_stay_small_whatever_the_number_of_rows_and_the_names() -> None:
    many = scored([1e-300] * 10_000, [True] * 10_000, name="é" * 500)
    assert sum(len(name) + len(value) + 4 for name, value in outlier_headers(many, baseline=b"b" * 12)) < 2000
    listed = scored([1.2345e-300] * LISTED_ROWS, [True] * LISTED_ROWS)
    assert sum(len(name) + len(value) + 4 for name, value in outlier_headers(listed, baseline=b"b" * 12)) < 2000


def test_names_of_features_cannot_break_out_of_a_header() -> None:
    headers = dict(outlier_headers(scored([0.5], [False], name="a\r\nx-evil: 1,=;é"), baseline=b"b"))
    assert headers[b"x-outlier-top"] == b"a%0D%0Ax-evil%3A 1%2C%3D%3B%C3%A9=4.25,b=0.5"


def test_what_could_not_be_scored_is_unknown() -> None:
    assert outlier_headers(not_scored(), baseline=b"b") == [(b"x-outlier", b"unknown"), (b"x-outlier-baseline", b"b")]


def partly(p_values: list[float], outlier: list[bool], *, rows: int) -> dict[bytes, bytes]:
    request = scored(p_values, outlier)
    request.rows, request.remainder = rows, Remainder(Rows([]), start=len(p_values))
    return dict(outlier_headers(request, baseline=b"b"))


def test_rows_that_are_left_over_make_the_verdict_unknown_unless_an_outlier_was_found() -> None:
    headers = partly([0.5, 0.25], [False, False], rows=4000)
    assert (headers[b"x-outlier"], headers[b"x-outlier-p-value"]) == (b"unknown", b"0.25")
    assert (headers[b"x-outlier-scored"], headers[b"x-outlier-rows"]) == (b"2", b"4000")
    headers = partly([0.5, 0.0001], [False, True], rows=4000)
    assert (headers[b"x-outlier"], headers[b"x-outlier-count"], headers[b"x-outlier-scored"]) == (b"1", b"1", b"2")


def test_a_request_that_was_not_read_in_time_has_no_row_scored_and_no_number_of_rows() -> None:
    request = not_scored()
    request.remainder = Remainder()
    assert outlier_headers(request, baseline=b"b") == [
        (b"x-outlier", b"unknown"),
        (b"x-outlier-baseline", b"b"),
        (b"x-outlier-scored", b"0"),
    ]


def test_the_name_of_a_detector_of_ones_own_becomes_one_of_a_header() -> None:
    request = scored([0.5], [False])
    assert request.scored is not None
    request.scored.scores["plant.own_detectors:Spread"] = [2.0]
    headers = dict(outlier_headers(request, baseline=b"b"))
    assert headers[b"x-outlier-score-plant-own-detectors-spread"] == b"2"


def test_a_rejection_names_rows_and_features() -> None:
    assert rejection(scored([0.5, 0.00012, 0.0002], [False, True, True])) == (
        "rejected: 2 of 3 rows unlike the model's baseline: row 1: p-value 0.00012, driven by temp=5.25, b=0.5; "
        "row 2: p-value 0.0002, driven by temp=6.25, b=0.5"
    )


def test_a_rejection_stays_short_whatever_the_number_of_rows_and_the_names() -> None:
    text = rejection(scored([1e-300] * 10_000, [True] * 10_000, name="x" * 500))
    assert text.endswith("; and 9990 more") and len(text) < 2000
