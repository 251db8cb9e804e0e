"""Requests through scoring, enrichment and the recorder, with everything real but Kafka and HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from tidegauge.baseline import BaselineProfile
from tidegauge.capture_spec import LARGEST_RECORD_BYTES, Capture
from tidegauge.records import Heartbeat, InferenceRecord, decode
from tidegauge.scoring.scorer import ScoredRow, ScoredRows, Scorer
from transformer.capture import EventClock, Ledger
from transformer.captured import Captured, rules
from transformer.enrich import Identity
from transformer.metrics import Metrics
from transformer.publisher import MESSAGE_BYTES
from transformer.recorder import Recorder
from transformer.scoring import BatchScorer
from transformer.served import ServedRequest

IDENTITY = Identity(
    monitor="sums", model="sums", version="7", namespace="tests", replica="pod", incarnation="i1", baseline="b" * 64
)


class Kept:
    """Takes messages as Kafka would, and acknowledges them when told to."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.records: list[InferenceRecord] = []
        self.outliers: list[InferenceRecord] = []
        self.heartbeats: list[Heartbeat] = []

    def publish(self, key: str, record: bytes) -> None:
        decoded = decode(record)
        assert isinstance(decoded, InferenceRecord) and decoded.id == key
        self.records.append(decoded)

    def publish_outlier(self, key: str, record: bytes) -> None:
        decoded = decode(record)
        assert isinstance(decoded, InferenceRecord) and decoded.id == key
        self.outliers.append(decoded)

    def publish_heartbeat(self, key: str, heartbeat: bytes) -> None:
        decoded = decode(heartbeat)
        assert isinstance(decoded, Heartbeat) and key == "pod/i1"
        self.heartbeats.append(decoded)

    def poll(self) -> None:
        pass

    async def flush(self, timeout_s: float) -> int:
        for _ in range(self.ledger.in_flight):
            self.ledger.acknowledge()
        return 0

    async def give_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Parts:
    def __init__(self, profile: BaselineProfile, scorer: Any = None, captured: Captured | None = None) -> None:
        self.ledger = Ledger(EventClock().now_ms())
        self.kept = Kept(self.ledger)
        self.metrics = Metrics(self.ledger.account, lambda: 0)
        self.recorder = Recorder(
            identity=IDENTITY,
            captured=captured or rules(Capture(), profile),
            clock=EventClock(),
            ledger=self.ledger,
            destination=self.kept,
            metrics=self.metrics,
        )
        self.scorer = BatchScorer(
            scorer or Scorer(profile), profile.schema, asyncio.get_running_loop().call_soon, budget_s=60.0
        )

    def arrive(self, document: Any, protocol: str = "v1", **noted: bytes) -> ServedRequest:
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        headers = {name.replace("_", "-").encode(): value for name, value in noted.items()}
        request = self.recorder.arrived(protocol, body, headers)
        self.scorer.submit(request)
        return request

    def answer(self, request: ServedRequest, body: bytes = b'{"predictions": [1]}', status: int = 200) -> None:
        self.scorer.settle(request)
        request.status, request.answer = status, body
        self.scorer.finish(request, self.recorder.answered)


@pytest.fixture
def records_of(profile: BaselineProfile) -> Callable[..., Kept]:
    """(script of Parts) -> what was kept after the recorder closed."""

    def run(script: Callable[[Parts], None], scorer: Any = None) -> Kept:
        async def main() -> Kept:
            parts = Parts(profile, scorer)
            script(parts)
            await parts.recorder.close(1.0)
            assert parts.ledger.account().balances()
            return parts.kept

        return asyncio.run(main())

    return run


def test_a_record_says_all_that_is_known(records_of: Callable[..., Kept], profile: BaselineProfile) -> None:
    def script(parts: Parts) -> None:
        request = parts.arrive({"instances": [[0.1, 0.2, 0.3], [9.0, None, 0.1]]}, x_request_id=b"r-1")
        parts.answer(request, b'{"predictions": [3, 4], "model_version": "8"}')

    record = records_of(script).records[0]
    assert (record.id, record.seq, record.protocol, record.status) == ("r-1", 1, "v1", 200)
    assert (record.monitor, record.model, record.version, record.replica) == ("sums", "sums", "8", "pod")
    assert record.features == [[0.1, 0.2, 0.3], [9.0, None, 0.1]]
    assert record.predictions == [3, 4]
    assert record.issues == {"missing_value": 1}
    assert (record.rows, record.outlier) == (2, [False, True])
    assert record.top[1][0][0] == "a"
    expected = Scorer(profile).score(np.array([[0.1, 0.2, 0.3], [9.0, np.nan, 0.1]]))
    assert record.scores == {name: values.tolist() for name, values in expected.scores.items()}
    assert record.p_values == {name: values.tolist() for name, values in expected.p_values.items()}


def test_flagged_records_are_copied_to_the_outliers(records_of: Callable[..., Kept]) -> None:
    def script(parts: Parts) -> None:
        for value in (0.1, 50.0):
            parts.answer(parts.arrive({"instances": [[value, 0.0, 0.0]]}))

    kept = records_of(script)
    assert [record.seq for record in kept.records] == [1, 2]
    assert [record.seq for record in kept.outliers] == [2]


def test_requests_scored_together_have_the_scores_they_have_alone(records_of: Callable[..., Kept]) -> None:
    rows = np.random.default_rng(3).normal(size=(7, 3)).tolist()

    def together(parts: Parts) -> None:
        requests = [parts.arrive({"instances": [row]}) for row in rows]
        for request in requests:
            parts.answer(request)

    def alone(parts: Parts) -> None:
        for row in rows:
            parts.answer(parts.arrive({"instances": [row]}))

    def told(kept: Kept) -> list[Any]:
        return [(record.features, record.scores, record.p_values, record.top) for record in kept.records]

    assert told(records_of(together)) == told(records_of(alone))


def test_unreadable_requests_are_recorded_with_the_reason(records_of: Callable[..., Kept]) -> None:
    def script(parts: Parts) -> None:
        parts.answer(parts.arrive(b"not json"))
        parts.answer(parts.arrive({"instances": [[1, 2]]}))
        parts.answer(parts.arrive({"instances": [[1, 2, 3]]}, content_encoding=b"gzip"))
        parts.answer(parts.arrive({"instances": []}))

    records = records_of(script).records
    assert [record.issues for record in records] == [
        {"not_json": 1},
        {"wrong_width": 1},
        {"unsupported_encoding": 1},
        {},
    ]
    assert [record.rows for record in records] == [0, 1, 0, 0]
    assert records[0].features is None


def test_an_error_of_the_predictor_is_no_prediction_and_no_issue(records_of: Callable[..., Kept]) -> None:
    def script(parts: Parts) -> None:
        parts.answer(parts.arrive({"instances": [[1, 2, 3]]}), b'{"error": "no"}', status=500)

    record = records_of(script).records[0]
    assert (record.status, record.predictions, record.issues, record.version) == (500, None, {}, "7")
    assert record.rows == 1


def test_a_record_too_long_for_kafka_goes_with_fewer_rows_and_says_so(records_of: Callable[..., Kept]) -> None:
    rows = [*np.random.default_rng(1).normal(size=(20_000, 3)).tolist(), [50.0, 0.0, None]]

    def script(parts: Parts) -> None:
        parts.answer(parts.arrive({"instances": rows}))
        parts.answer(parts.arrive({"instances": rows[:100]}))

    kept = records_of(script)
    long, short = kept.records
    step = -(-20_001 // long.rows)
    assert 1 < step <= 3
    assert long.features == [*rows[:-1], [50.0, 0.0, None]][::step]
    assert {len(long.outlier), len(long.top), *map(len, long.scores.values())} == {long.rows}
    assert long.issues == {"missing_value": 1, "rows_not_recorded": 20_001 - long.rows}
    assert (short.rows, short.issues) == (100, {})
    assert kept.outliers[0].id == long.id, "it is on the topic of outliers all the same"
    assert LARGEST_RECORD_BYTES + 1000 < MESSAGE_BYTES


class FailsOnNegatives:
    """Scores like the real one, and fails for any matrix with a row whose first value is negative."""

    def __init__(self, profile: BaselineProfile) -> None:
        self._scorer = Scorer(profile)

    def score(self, matrix: Any) -> ScoredRows:
        if (matrix[:, 0] < 0).any():
            raise RuntimeError("a fault")
        return self._scorer.score(matrix)

    def score_row(self, values: Sequence[float]) -> ScoredRow:
        if values[0] < 0:
            raise RuntimeError("a fault")
        return self._scorer.score_row(values)


def test_a_fault_in_scoring_stays_with_the_request_that_causes_it(
    records_of: Callable[..., Kept], profile: BaselineProfile
) -> None:
    def script(parts: Parts) -> None:
        requests = [parts.arrive({"instances": [[value, 0.0, 0.0]]}) for value in (1.0, -1.0, 2.0)]
        for request in requests:
            parts.answer(request)

    records = records_of(script, FailsOnNegatives(profile)).records
    assert [record.issues for record in records] == [{}, {"scoring_failed": 1}, {}]
    assert [len(record.outlier) for record in records] == [1, 0, 1]


def test_what_json_cannot_hold_is_dropped_and_counted(records_of: Callable[..., Kept]) -> None:
    def script(parts: Parts) -> None:
        request = parts.arrive({"instances": [[1, 2, 3]]})
        request.id = "\ud800"
        parts.answer(request)
        parts.recorder.abandoned(parts.arrive({"instances": [[1, 2, 3]]}), "cancelled")
        parts.answer(parts.arrive({"instances": [[1, 2, 3]]}))

    kept = records_of(script)
    assert [record.seq for record in kept.records] == [3]
    assert kept.ledger.account().dropped == {"not_encodable": 1, "cancelled": 1}


def test_the_last_heartbeat_is_final_and_whole(records_of: Callable[..., Kept]) -> None:
    def script(parts: Parts) -> None:
        parts.recorder.start()
        for _ in range(5):
            parts.answer(parts.arrive({"instances": [[1, 2, 3]]}))

    beats = records_of(script).heartbeats
    assert (beats[0].seq, beats[0].time_ms % 1000, beats[0].final) == (0, 0, False)
    assert [beat.final for beat in beats] == [False] * (len(beats) - 1) + [True]
    assert (beats[-1].seq, beats[-1].account.acknowledged, beats[-1].account.in_flight) == (5, 5, 0)


def metric_values(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in metrics.collect()
        for sample in family.samples
    }


def test_metrics_tell_the_account(profile: BaselineProfile) -> None:
    async def main() -> None:
        parts = Parts(profile)
        parts.answer(parts.arrive({"instances": [[1, 2, 3], [99.0, 0, 0]]}))
        parts.answer(parts.arrive(b"{"), status=503)
        parts.recorder.abandoned(parts.arrive(b"{"), "cancelled")
        await parts.recorder.close(1.0)
        values = metric_values(parts.metrics)
        assert values["tidegauge_requests_total", ("v1", "2xx")] == 1
        assert values["tidegauge_requests_total", ("v1", "5xx")] == 1
        assert values["tidegauge_served_total", ()] == 3
        assert values["tidegauge_records_total", ("acknowledged", "")] == 2
        assert values["tidegauge_records_total", ("dropped", "cancelled")] == 1
        assert values["tidegauge_rows_total", ()] == 2
        assert values["tidegauge_outliers_total", ()] == 1
        assert values["tidegauge_issues_total", ("not_json",)] == 1
        assert values["tidegauge_added_seconds_count", ()] == 2

    asyncio.run(main())
