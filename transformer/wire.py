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

import re
from collections.abc import Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

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
_KEEP_OR_CLOSE: Final = frozenset((b"", b"keep-alive", b"close"))
_NAME_CHARACTERS: Final = 64
_ID_CHARACTERS: Final = 256


def noted_headers(scope: Scope) -> dict[bytes, bytes]:
    """Those of the request's headers that mean something to us, by lower-case name."""
    return {name: value for name, value in scope["headers"] if name in _NOTED}


def request_head(scope: Scope, noted: Mapping[bytes, bytes], *, host: bytes, length: int) -> bytes:
    """The request to the predictor up to and with the empty line."""
    method: str = scope["method"]
    query: bytes = scope["query_string"]
    target = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
    parts = [method.encode(), b" ", target, b" HTTP/1.1\r\nhost: ", host, b"\r\n"]
    dropped = _NOT_FORWARDED
    if b"connection" in noted:
        for name, value in scope["headers"]:
            if name == b"connection":
                dropped = dropped | _connection_tokens(value)
    for name, value in scope["headers"]:
        if name not in dropped:
            parts += (name, b": ", value, b"\r\n")
    if length or b"content-length" in noted or method in ("POST", "PUT", "PATCH"):
        parts += (b"content-length: ", str(length).encode(), b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def answer_headers(headers: Iterable[tuple[bytes, bytes]], *, status: int) -> Headers:
    """The end-to-end headers of an answer, in their order, repeated ones too."""
    passed = [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]
    tokens = [value for name, value in headers if name.lower() == b"connection"]
    dropped = frozenset().union(*map(_connection_tokens, tokens)) if tokens else frozenset()
    if status == 304:  # the length it may name is not its own, and our server insists on lengths
        dropped |= {b"content-length"}
    return [(name, value) for name, value in passed if name.lower() not in dropped] if dropped else passed


def _connection_tokens(value: bytes) -> frozenset[bytes]:
    if value.lower() in _KEEP_OR_CLOSE:
        return frozenset()
    return frozenset(token.strip() for token in value.lower().split(b",")) - _KEEP_OR_CLOSE


def request_id(noted: Mapping[bytes, bytes]) -> str:
    """x-request-id, else the trace id of traceparent, else ce-id, else a new UUID; over-long ones do not count."""
    named = noted.get(b"x-request-id") or _trace_id(noted.get(b"traceparent")) or noted.get(b"ce-id")
    if named and len(named) <= _ID_CHARACTERS:
        return named.decode("latin-1")
    return str(uuid4())


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
    return ",".join([f"{_quoted(name)}={value:.4g}" for name, value in top]).encode()


@lru_cache(maxsize=4096)
def _quoted(feature: str) -> str:
    return quote(feature[:_NAME_CHARACTERS], safe=" ()[]")


@lru_cache(maxsize=64)
def _score_name(detector: str) -> bytes:
    """A user's own is named module:Class, which no header's name may hold."""
    return b"x-outlier-score-" + re.sub(r"[^a-z0-9]+", "-", detector.lower()).encode()
