"""
What of a served request leaves the process, as the monitor's section `capture` says: whether it has a record at all,
which headers, values, reasons and bodies are in it. Redacted is what is in records before they are encoded, so topics,
the spool and whatever comes after them know nothing else.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.capture_spec import Capture
from tidegauge.features import UNSEEN_NAME, FeatureSchema, Matrix
from tidegauge.lots import is_drawn
from tidegauge.reference import FeatureReference
from tidegauge.secret_refs import MissingSecret, SecretRef
from transformer.arguments import InvalidSettings
from transformer.served import Scored, ServedRequest

HEADER_CHARACTERS: Final = 256
KEY_BYTES: Final = 16
"""A shorter key can be guessed, and with it every value of a feature that has few."""
HASH_DIGITS: Final = 32

Top = Sequence[Sequence[tuple[str, float]]]


class Captured:
    """The rules of one monitor. noted: headers that have to be known of a request, in lower case."""

    def __init__(self, capture: Capture, schema: FeatureSchema, redactor: Redactor | None) -> None:
        self._schema, self._redactor = schema, redactor
        self._rate, self._weight = capture.sample_rate, 1 / capture.sample_rate
        self._samples = capture.sample_rate < 1.0
        self._values, self._raw = capture.payload != "scores", capture.payload == "raw"
        self._body_bytes = capture.max_body_bytes
        self._names = tuple((name, name.encode()) for name in capture.headers)
        self.noted = frozenset(name for _, name in self._names)
        self.labels = dict(capture.labels)
        self.record_bytes = capture.max_record_bytes

    def note(self, request: ServedRequest, noted: Mapping[bytes, bytes]) -> None:
        """At arrival, when headers and body are there."""
        if self._names:
            request.headers = {
                name: _printable(noted[key].decode("latin-1")) for name, key in self._names if key in noted
            }
        if self._raw:
            request.raw, request.raw_bytes = request.body[: self._body_bytes], len(request.body)

    def weight(self, request: ServedRequest) -> float:
        """Of the request's record; 0 where it has none. To be asked when all is scored that will be."""
        if not self._samples or (request.scored is not None and True in request.scored.outlier):
            return 1.0
        return self._weight if is_drawn(request.id, self._rate) else 0.0

    def features(self, scored: Scored | None) -> list[list[object]] | None:
        if scored is None or not self._values:
            return None
        if self._redactor is not None:
            return self._redactor.rows(scored.matrix)
        return self._schema.decode_rows(scored.matrix)

    def predictions(self, predictions: object) -> object:
        return predictions if self._values else None

    def top(self, scored: Scored | None) -> Top:
        """A contribution tells how unusual a value is, and so what it may be."""
        if scored is None or not self._values:
            return ()
        return scored.top if self._redactor is None else self._redactor.top(scored.top)

    def raw(self, request: ServedRequest) -> dict[str, object] | None:
        if not self._raw:
            return None
        answer = None if request.rejected else request.answer
        return {
            "request": None if request.raw is None else _body(request.raw, request.raw_bytes),
            "answer": None if answer is None else _body(answer[: self._body_bytes], len(answer)),
        }


class Redactor:
    """columns: what replaces a matrix's columns, by position. tokens: what replaces decoded values."""

    def __init__(
        self,
        schema: FeatureSchema,
        columns: Mapping[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]],
        tokens: Mapping[int, Callable[[object], object]],
    ) -> None:
        self._schema, self._columns, self._tokens = schema, columns, tokens
        self._names = frozenset(schema.names[position] for position in (*columns, *tokens))

    def rows(self, matrix: Matrix) -> list[list[object]]:
        matrix = matrix.copy()
        for position, replaced in self._columns.items():
            matrix[:, position] = replaced(matrix[:, position])
        rows = self._schema.decode_rows(matrix)
        for position, token in self._tokens.items():
            for row in rows:
                row[position] = token(row[position])
        return rows

    def top(self, top: Top) -> Top:
        return [[reason for reason in of_row if reason[0] not in self._names] for of_row in top]


def rules(capture: Capture, profile: BaselineProfile, environment: Mapping[str, str] = os.environ) -> Captured:
    """Raises InvalidSettings for what does not fit the baseline, and for a key that is not there."""
    schema = profile.schema
    columns: dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {}
    tokens: dict[int, Callable[[object], object]] = {}
    for name, redaction in capture.redact.items():
        at = f"spec.capture.redact.{name}"
        if name not in schema.index:
            raise InvalidSettings(f"{at}: the baseline has no such feature: take the name from its schema")
        position = schema.index[name]
        if redaction.kind == "drop":
            columns[position] = _dropped
        elif redaction.kind == "bucket":
            if schema.features[position].kind != "numeric":
                raise InvalidSettings(f"{at}: bucket is for numeric features: drop or hash it")
            columns[position] = _bucketed(profile.references[position])
        else:
            assert redaction.key is not None
            tokens[position] = _hashed(name, _key(redaction.key, at, environment))
    return Captured(capture, schema, Redactor(schema, columns, tokens) if columns or tokens else None)


def _key(reference: SecretRef, at: str, environment: Mapping[str, str]) -> bytes:
    try:
        key = reference.read(environment, lambda path: Path(path).read_bytes())
    except MissingSecret as error:
        raise InvalidSettings(f"{at}: {error}") from error
    if len(key) < KEY_BYTES:
        raise InvalidSettings(f"{at}: {reference.place} has {len(key)} bytes: give it a key of at least {KEY_BYTES}")
    return key


def _dropped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full(len(values), np.nan)


def _bucketed(reference: FeatureReference) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    edges = reference.edges
    if not len(edges):  # the baseline has no values: nothing is known of what comes
        return _dropped
    middles = np.append(representatives(edges), np.nan)

    def replaced(values: NDArray[np.float64]) -> NDArray[np.float64]:
        positions = np.searchsorted(edges, values, side="right")
        positions[np.isnan(values)] = len(edges) + 1
        return np.asarray(middles[positions])

    return replaced


def representatives(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    A value of each bin of tidegauge.binning: the middle, where that is one of the bin's own; its lower end, which
    belongs to it; of the two open bins, the value next to the edge.
    """
    middles = edges[:-1] / 2 + edges[1:] / 2
    inside = (middles >= edges[:-1]) & (middles < edges[1:])
    return np.concatenate(
        [[np.nextafter(edges[0], -np.inf)], np.where(inside, middles, edges[:-1]), [max(edges[-1], -np.inf)]]
    )


def _hashed(name: str, key: bytes) -> Callable[[object], object]:
    """
    Equal values of one feature have equal tokens, of two features different ones. Missing values stay missing, and
    categories that the baseline does not know have no name to be hidden.
    """
    prefix = name.encode() + b"\0"

    def token(value: object) -> object:
        if value is None or value == UNSEEN_NAME:
            return value
        return hmac.digest(key, prefix + orjson.dumps(value), "sha256").hex()[:HASH_DIGITS]

    return token


def _printable(text: str) -> str:
    text = text[:HEADER_CHARACTERS]
    return text if text.isprintable() else "".join([c if c.isprintable() else "?" for c in text])


def _body(kept: bytes, length: int) -> dict[str, object]:
    try:
        return {"encoding": "text", "data": kept.decode(), "bytes": length}
    except UnicodeDecodeError as error:
        if length > len(kept) and error.start >= len(kept) - 3:  # cut within a character
            return {"encoding": "text", "data": kept[: error.start].decode(), "bytes": length}
        return {"encoding": "base64", "data": base64.b64encode(kept).decode(), "bytes": length}
