"""The facts of a served request turned into its record; a ledger's boundary into a heartbeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tidegauge.records import Account, Heartbeat, InferenceRecord, encode_record
from transformer.capture import Boundary
from transformer.captured import Captured
from transformer.parse import Answer, read_answer
from transformer.served import ServedRequest

VERSION_CHARACTERS: Final = 200
"""What the aggregator takes for a version; it must be printable too."""


@dataclass(frozen=True)
class Identity:
    """Who speaks: the same in every record and heartbeat of one incarnation. baseline: its content id."""

    monitor: str
    model: str
    version: str
    namespace: str
    replica: str
    incarnation: str
    baseline: str

    @property
    def key(self) -> str:
        """Kafka key of heartbeats."""
        return f"{self.replica}/{self.incarnation}"


def enrich(request: ServedRequest, identity: Identity, captured: Captured, *, weight: float = 1.0) -> InferenceRecord:
    answer = _answer(request)
    scored = request.scored
    version, issue = _version(answer, identity)
    return InferenceRecord.of_fields(
        {
            "id": request.id,
            "time_ms": request.time_ms,
            "monitor": identity.monitor,
            "model": identity.model,
            "version": version,
            "namespace": identity.namespace,
            "replica": identity.replica,
            "incarnation": identity.incarnation,
            "seq": request.seq,
            "protocol": request.protocol,
            "status": request.status,
            # Whole microseconds: `round` takes as long as several of these lines.
            "latency_ms": int(request.latency_s * 1e6 + 0.5) / 1e3,
            "upstream_ms": int(request.upstream_s * 1e6 + 0.5) / 1e3,
            "rows": len(scored.matrix) if scored else 0,
            "baseline": identity.baseline,
            "features": captured.features(scored),
            "predictions": captured.predictions(answer.predictions),
            "scores": scored.scores if scored else {},
            "p_values": scored.p_values if scored else {},
            "outlier": scored.outlier if scored else (),
            "top": captured.top(scored),
            "issues": _with(request.issues, answer.issue, issue),
            "traceparent": request.traceparent,
            "weight": weight,
            "headers": request.headers,
            "labels": captured.labels,
            "rejected": request.rejected,
            "raw": captured.raw(request),
        }
    )


def encode_within(record: InferenceRecord, limit: int) -> tuple[InferenceRecord, bytes]:
    """
    The record, if need be with every second, third ... row alone, so that it has at most `limit` bytes, and it encoded.
    Rows of every part of the request stay, since requests are often sorted; the issue rows_not_recorded says how many
    did not. Raises TypeError for a prediction that JSON cannot hold.
    """
    data, kept = encode_record(record), record
    step = 1
    while len(data) > limit and step < record.rows:
        step = min(max(step + 1, round(step * 1.05 * len(data) / limit)), record.rows)
        kept = _every(step, record)
        data = encode_record(kept)
    if len(data) > limit:
        kept = _without_rows(record)
        data = encode_record(kept)
    return kept, data


def _every(step: int, record: InferenceRecord) -> InferenceRecord:
    kept = len(record.outlier[::step])
    return replace(
        record,
        rows=kept,
        features=None if record.features is None else record.features[::step],
        predictions=_predictions(step, record.predictions, record.rows),
        scores={name: values[::step] for name, values in record.scores.items()},
        p_values={name: values[::step] for name, values in record.p_values.items()},
        outlier=record.outlier[::step],
        top=record.top[::step],
        issues={**record.issues, "rows_not_recorded": record.rows - kept},
    )


def _predictions(step: int, predictions: object, rows: int) -> object:
    """Of a list with one entry a row, or several, or of such lists by output; None for anything else."""
    if isinstance(predictions, dict):
        return {name: _predictions(step, values, rows) for name, values in predictions.items()}
    if not isinstance(predictions, Sequence) or isinstance(predictions, str) or len(predictions) % rows:
        return None
    width = len(predictions) // rows
    return [value for row in range(0, rows, step) for value in predictions[row * width : (row + 1) * width]]


def _without_rows(record: InferenceRecord) -> InferenceRecord:
    """The request is counted all the same, and how many rows are not."""
    return replace(
        record,
        rows=0,
        features=None,
        predictions=None,
        scores={},
        p_values={},
        outlier=(),
        top=(),
        issues={**record.issues, "rows_not_recorded": max(1, record.rows)},
        raw=None,
    )


def heartbeat(boundary: Boundary, identity: Identity, account: Account, *, final: bool = False) -> Heartbeat:
    return Heartbeat(
        time_ms=boundary.time_ms,
        monitor=identity.monitor,
        model=identity.model,
        version=identity.version,
        namespace=identity.namespace,
        replica=identity.replica,
        incarnation=identity.incarnation,
        seq=boundary.seq,
        baseline=identity.baseline,
        account=account,
        final=final,
    )


def _version(answer: Answer, identity: Identity) -> tuple[str, str | None]:
    """And the issue with it, if any."""
    if not answer.version:
        return identity.version, None
    if len(answer.version) <= VERSION_CHARACTERS and answer.version.isprintable():
        return answer.version, None
    return identity.version, "bad_version"


def _answer(request: ServedRequest) -> Answer:
    if request.rejected:  # what the client did not get is no prediction; the version says whose traffic this was
        return Answer(version=_read(request).version)
    if request.answer_cut:
        return Answer(issue="answer_cut_short")
    # An error's text is no prediction; its status says enough.
    return _read(request) if 200 <= request.status < 300 else Answer()


def _read(request: ServedRequest) -> Answer:
    return read_answer(
        request.answer, protocol=request.protocol, encoded=request.answer_encoded, binary=request.answer_binary
    )


def _with(issues: Mapping[str, int], *more: str | None) -> Mapping[str, int]:
    return {**issues, **{issue: 1 for issue in more if issue}} if any(more) else issues
