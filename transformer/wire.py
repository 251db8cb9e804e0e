"""
HTTP headers that cross us: which are passed on, which we read, and which we add to answers.

Added to the answer of a predict or infer request, beside x-request-id:

    x-outlier                   1 for an outlier, 0 for none, per row, comma separated: "0,1,0"; "unknown" where the
                                request could not be scored
    x-outlier-p-value           per row, in (0, 1]: how usual such a row is, all detectors taken together
    x-outlier-score-DETECTOR    per row, larger = less like the baseline; DETECTOR is also "combined"
    x-outlier-top               of the row with the smallest p-value, what drives its score: "name=contribution,..."
                                largest first; names percent-encoded
    x-outlier-baseline          the first 12 hexadecimal digits of the baseline's content id

Requests of more than LISTED_ROWS rows get one value instead of a list, that of the row with the smallest p-value, and
two more headers: x-outlier-rows, how many rows there were, and x-outlier-count, how many of them are outliers.

So do requests that were not scored to their end in time, with x-outlier-scored, how many rows were: the values are of
those, and x-outlier is 1 where one of them is an outlier, else "unknown". Where they were not even read there is no
x-outlier-rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import numpy as np
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from transformer.served import Scored, ServedRequest

Headers = list[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]

LISTED_ROWS: Final = 32
NAMED_ROWS: Final = 10
"""Of the rows for which a request is rejected."""

_HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_TOLD = _HOP_BY_HOP | {b"content-encoding", b"content-length", b"inference-header-content-length", b"x-request-id"}
# Host names the predictor, as in a direct call; the length is that of the body as read; expectations were met by us.
_NOT_FORWARDED: Final = _HOP_BY_HOP | {b"host", b"content-length", b"expect"}
_NOTED: Final = frozenset(
    (
        b"ce-id",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"inference-header-content-length",
        b"traceparent",
        b"x-request-id",
    )
)
_NAMING: Final = frozenset((b"ce-id", b"traceparent", b"x-request-id"))
_KEEP_OR_CLOSE: Final = frozenset((b"", b"keep-alive", b"close"))
_NAME_CHARACTERS: Final = 64
_ID_CHARACTERS: Final = 256
_UUIDS_AT_ONCE: Final = 256
_HYPHENLESS: Final = np.array([position for position in range(36) if position not in (8, 13, 18, 23)])


def noted_headers(headers: Headers, asked: frozenset[bytes] = frozenset()) -> dict[bytes, bytes]:
    """Those of a request's headers that mean something to us or are asked for. headers: names in lower case."""
    wanted = _NOTED | asked if asked else _NOTED
    return {name: value for name, value in headers if name in wanted}


def request_head(
    method: bytes, target: bytes, headers: Headers, noted: Mapping[bytes, bytes], *, host: bytes, length: int
) -> bytes:
    """
    The request to the predictor up to and with the empty line. target: path and query. headers: of the request to us;
    noted: of these.
    """
    parts = [method, b" ", target, b" HTTP/1.1\r\nhost: ", host, b"\r\n"]
    dropped = _NOT_FORWARDED
    if b"connection" in noted:
        for name, value in headers:
            if name == b"connection":
                dropped = dropped | _connection_tokens(value)
    for name, value in headers:
        if name not in dropped:
            parts += (name, b": ", value, b"\r\n")
    if length or b"content-length" in noted or method in (b"POST", b"PUT", b"PATCH"):
        parts.append(b"content-length: %d\r\n" % length)
    parts.append(b"\r\n")
    return b"".join(parts)


@dataclass(slots=True)
class AnswerHead:
    """
    headers: the end-to-end ones, in their order, repeated ones too, names in lower case. sized: the answer says how
    long it is. encoded: its body has a content encoding. binary: the header inference-header-content-length.
    names_request: it has an x-request-id.
    """

    headers: Headers
    sized: bool = False
    encoded: bool = False
    binary: bytes | None = None
    names_request: bool = False


def answer_head(headers: Iterable[tuple[bytes, bytes]], *, status: int) -> AnswerHead:
    head = AnswerHead([])
    dropped: frozenset[bytes] = frozenset()
    passed = head.headers
    for name, value in headers:
        lowered = name.lower()
        if lowered in _TOLD:
            if lowered == b"connection":
                dropped |= _connection_tokens(value)
            if lowered in _HOP_BY_HOP:
                continue
            _note(head, lowered, value)
        passed.append((lowered, value))
    if status == 304:  # the length it may name is not its own, and our server insists on lengths
        dropped |= {b"content-length"}
        head.sized = False
    if dropped:
        head.headers = [(name, value) for name, value in passed if name not in dropped]
    return head


def _note(head: AnswerHead, name: bytes, value: bytes) -> None:
    if name == b"content-length":
        head.sized = True
    elif name == b"content-encoding":
        head.encoded = True
    elif name == b"x-request-id":
        head.names_request = True
    else:
        head.binary = value


def header_lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def answer_bytes(status: int, lines: bytes, body: bytes) -> bytes:
    """A whole answer, as it goes to the client. lines: its headers, with the body's length."""
    return b"".join((STATUS_LINE[status], lines, b"\r\n", body))


def _connection_tokens(value: bytes) -> frozenset[bytes]:
    if value.lower() in _KEEP_OR_CLOSE:
        return frozenset()
    return frozenset(token.strip() for token in value.lower().split(b",")) - _KEEP_OR_CLOSE


def _uuids() -> Iterator[str]:
    """Random ones (RFC 9562, section 5.4). Randomness is asked for in bulk: asking costs microseconds each time."""
    while True:
        octets = np.frombuffer(os.urandom(16 * _UUIDS_AT_ONCE), np.uint8).reshape(-1, 16).copy()
        octets[:, 6] = octets[:, 6] & 0x0F | 0x40  # version 4
        octets[:, 8] = octets[:, 8] & 0x3F | 0x80
        written = np.full((_UUIDS_AT_ONCE, 36), ord("-"), np.uint8)
        written[:, _HYPHENLESS] = np.frombuffer(octets.tobytes().hex().encode(), np.uint8).reshape(-1, 32)
        text = written.tobytes().decode()
        for start in range(0, len(text), 36):
            yield text[start : start + 36]


_random_ids = _uuids()


def request_id(noted: Mapping[bytes, bytes]) -> str:
    """
    x-request-id, else the trace id of traceparent, else ce-id, else a new UUID; over-long ones, and those that cannot
    be printed, do not count.
    """
    if _NAMING.isdisjoint(noted):
        return next(_random_ids)
    return (
        _usable(noted.get(b"x-request-id"))
        or _usable(_trace_id(noted.get(b"traceparent")))
        or _usable(noted.get(b"ce-id"))
        or next(_random_ids)
    )


def _usable(named: bytes | None) -> str | None:
    if not named or len(named) > _ID_CHARACTERS:
        return None
    text = named.decode("latin-1")
    return text if text.isprintable() else None


def _trace_id(traceparent: bytes | None) -> bytes | None:
    parts = traceparent.split(b"-") if traceparent else ()
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 and parts[1].isalnum() else None


def outlier_headers(request: ServedRequest, *, baseline: bytes) -> Headers:
    """baseline: the content id's first digits."""
    scored, complete = request.scored, request.remainder is None
    if scored is None or not scored.outlier:
        headers = [(b"x-outlier", b"unknown"), (b"x-outlier-baseline", baseline)]
        return headers if complete else headers + _counts(request, None)
    p_values = scored.p_values["combined"]
    worst = p_values.index(min(p_values)) if len(p_values) > 1 else 0
    whole = complete and len(p_values) <= LISTED_ROWS
    listed = slice(None) if whole else slice(worst, worst + 1)
    verdicts = b",".join([b"1" if outlier else b"0" for outlier in scored.outlier[listed]])
    headers = [
        (b"x-outlier", verdicts if complete or verdicts == b"1" else b"unknown"),
        (b"x-outlier-p-value", _numbers(p_values[listed])),
    ]
    headers += [(_score_name(name), _numbers(values[listed])) for name, values in scored.scores.items()]
    headers.append((b"x-outlier-top", _contributions(scored.top[worst])))
    headers.append((b"x-outlier-baseline", baseline))
    return headers if whole else headers + _counts(request, scored)


def outlier_lines(request: ServedRequest, *, baseline: bytes) -> bytes:
    """`outlier_headers` as they go over the wire; with less ado for one row, as most requests have."""
    scored = request.scored
    if scored is None or request.remainder is not None or len(scored.outlier) != 1:
        return header_lines(outlier_headers(request, baseline=baseline))
    values: list[object] = [scored.outlier[0], scored.p_values["combined"][0]]
    values += [of_row[0] for of_row in scored.scores.values()]
    for name, contribution in scored.top[0]:
        values += (_quoted(name), contribution)
    values.append(baseline)
    return _lines_of_one_row(tuple(scored.scores), len(scored.top[0])) % tuple(values)


@lru_cache(maxsize=64)
def _lines_of_one_row(detectors: tuple[str, ...], reasons: int) -> bytes:
    """A template."""
    scores = b"".join([b"%b: %%.4g\r\n" % _score_name(name) for name in detectors])
    top = b",".join([b"%b=%.4g"] * reasons)
    return (
        b"x-outlier: %d\r\nx-outlier-p-value: %.4g\r\n"
        + scores
        + b"x-outlier-top: "
        + top
        + (b"\r\nx-outlier-baseline: %b\r\n")
    )


def _counts(request: ServedRequest, scored: Scored | None) -> Headers:
    counts = [(b"x-outlier-rows", str(request.rows).encode())] if request.rows else []
    if scored is not None:
        counts.append((b"x-outlier-count", str(sum(scored.outlier)).encode()))
    if request.remainder is not None:
        counts.append((b"x-outlier-scored", str(len(scored.outlier) if scored else 0).encode()))
    return counts


def rejection(request: ServedRequest) -> str:
    """Why a request with outliers is not answered with a prediction: which rows, and what drives their scores."""
    scored = request.scored
    assert scored is not None
    rows = [row for row, outlier in enumerate(scored.outlier) if outlier]
    named = "; ".join([f"row {row}: {_reason(scored, row)}" for row in rows[:NAMED_ROWS]])
    more = f"; and {len(rows) - NAMED_ROWS} more" if len(rows) > NAMED_ROWS else ""
    return f"rejected: {len(rows)} of {request.rows} rows unlike the model's baseline: {named}{more}"


def _reason(scored: Scored, row: int) -> str:
    features = ", ".join([f"{name[:_NAME_CHARACTERS]}={value:.4g}" for name, value in scored.top[row]])
    return f"p-value {scored.p_values['combined'][row]:.4g}, driven by {features}"


def _numbers(values: Iterable[float]) -> bytes:
    return b",".join([b"%.4g" % value for value in values])


def _contributions(top: Iterable[tuple[str, float]]) -> bytes:
    return b",".join([b"%b=%.4g" % (_quoted(name), value) for name, value in top])


@lru_cache(maxsize=4096)
def _quoted(feature: str) -> bytes:
    return quote(feature[:_NAME_CHARACTERS], safe=" ()[]").encode()


@lru_cache(maxsize=64)
def _score_name(detector: str) -> bytes:
    """A user's own is named module:Class, which no header's name may hold."""
    return b"x-outlier-score-" + re.sub(r"[^a-z0-9]+", "-", detector.lower()).encode()
