"""The facts of a served request turned into its record; a ledger's boundary into a heartbeat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tidegauge.features import FeatureSchema
from tidegauge.records import Account, Heartbeat, InferenceRecord
from transformer.capture import Boundary
from transformer.parse import Answer, read_answer
from transformer.served import ServedRequest


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


def enrich(request: ServedRequest, identity: Identity, schema: FeatureSchema) -> InferenceRecord:
    answer = _answer(request)
    scored = request.scored
    return InferenceRecord(
        id=request.id,
        time_ms=request.time_ms,
        monitor=identity.monitor,
        model=identity.model,
        version=answer.version or identity.version,
        namespace=identity.namespace,
        replica=identity.replica,
        incarnation=identity.incarnation,
        seq=request.seq,
        protocol=request.protocol,
        status=request.status,
        latency_ms=round(request.latency_s * 1000, 3),
        upstream_ms=round(request.upstream_s * 1000, 3),
        rows=len(scored.matrix) if scored else 0,
        baseline=identity.baseline,
        features=schema.decode_rows(scored.matrix) if scored else None,
        predictions=answer.predictions,
        scores=scored.scores if scored else {},
        p_values=scored.p_values if scored else {},
        outlier=scored.outlier if scored else (),
        top=scored.top if scored else (),
        issues=_with(request.issues, answer.issue),
        traceparent=request.traceparent,
        rejected=request.rejected,
    )


def without_rows(record: InferenceRecord) -> InferenceRecord:
    """Of a record too long for Kafka: the request is counted all the same, and how many rows are not."""
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


def _with(issues: Mapping[str, int], issue: str | None) -> Mapping[str, int]:
    return {**issues, issue: 1} if issue else issues
