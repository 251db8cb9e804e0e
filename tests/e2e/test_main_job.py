"""
The main job, nothing simulated: a real broker, a real KServe predictor, the transformer, the aggregator on real Spark.

Held-out rows with their anomalies, then the same with a known drift, in windows of 3 s. Sent once, asserted in parts.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import orjson
import pytest

from localsystem.dataset import LABEL, load_shuttle, split
from localsystem.demo.plan import Schedule, Traffic, make_traffic
from localsystem.demo.replay import Progress, replay
from localsystem.demo.watch import SeenReport
from localsystem.monitor_file import MonitorSettings, write_monitor
from localsystem.system import LocalSystem, Part
from localsystem.topics import Reader

pytestmark = pytest.mark.e2e

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
WINDOW_S, WATERMARK_S = 3, 1
# Six windows to learn from how windows vary, two to raise no alarm in, and three with the drift.
SCHEDULE = Schedule(traffic_s=33, drift_after_s=24, rate=240)
WINDOWS = SCHEDULE.traffic_s // WINDOW_S
MODEL = "shuttle"
OUTLIER = [120.0, 3000.0, 30.0, -2000.0, 300.0, 9000.0, -40.0, 200.0, 250.0]


@dataclass(frozen=True)
class MainJob:
    """What went in and what came out. start_ms: beginning of the first window with traffic."""

    transformer: Part
    predictor: Part
    directory: Path
    traffic: Traffic
    progress: Progress
    start_ms: int
    records: dict[str, dict[str, Any]]
    heartbeats: list[dict[str, Any]]
    reports: dict[int, SeenReport]
    inference: Reader


def start_parts(system: LocalSystem) -> tuple[Part, Part, str]:
    """(predictor, transformer, bootstrap servers), all ready, as is the aggregator."""
    system.prepare()
    predictor, broker = system.start_predictor(MODEL), system.start_broker()
    data, profile = system.directory / "baseline.csv", system.directory / "baseline.json"
    split(load_shuttle())[0].write_csv(data)
    system.run_command_line("fit", ["baseline", "fit", str(data), "-o", str(profile), "--outlier-column", LABEL])
    broker.wait_until_ready()
    settings = MonitorSettings(broker.bootstrap_servers, profile.name, MODEL, WINDOW_S, WATERMARK_S)
    monitor_file = system.directory / "monitor.yaml"
    monitor = write_monitor(monitor_file, settings)
    system.create_topics(broker, monitor.kafka.topics)
    aggregator = system.start_aggregator(monitor_file=monitor_file)
    transformer = system.start_transformer(monitor_file=monitor_file, model=MODEL, predictor=predictor)
    for part in (predictor, transformer, aggregator):
        part.wait_until_ready()
    return predictor, transformer, broker.bootstrap_servers


@pytest.fixture(scope="module")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MainJob]:
    baseline, held_out = split(load_shuttle())
    traffic = make_traffic(SCHEDULE, baseline=baseline, held_out=held_out, seed=11)
    with LocalSystem(tmp_path_factory.mktemp("main-job")) as system:
        predictor, transformer, bootstrap_servers = start_parts(system)
        inference = Reader(bootstrap_servers, ["tidegauge.inference"])
        statistics = Reader(bootstrap_servers, ["tidegauge.statistics"])
        start_ms = math.ceil((time.time() + 0.5) / WINDOW_S) * WINDOW_S * 1000
        url = f"{transformer.url}/v1/models/{MODEL}:predict"
        progress = replay(SCHEDULE, traffic, url=url, start_at_s=start_ms / 1000, on_tick=lambda _: None)
        reports = read_reports(statistics, start_ms)
        records, heartbeats = read_inference(inference, traffic)
        yield MainJob(
            transformer=transformer,
            predictor=predictor,
            directory=system.directory,
            traffic=traffic,
            progress=progress,
            start_ms=start_ms,
            records=records,
            heartbeats=heartbeats,
            reports=reports,
            inference=inference,
        )
        inference.close()
        statistics.close()


def read_reports(statistics: Reader, start_ms: int) -> dict[int, SeenReport]:
    """By window start, until the last window with traffic has come."""
    reports: dict[int, SeenReport] = {}
    for message in statistics.read_all(within_s=60):
        report = SeenReport(orjson.loads(message.value), message.read_at_s)
        reports[report.start_ms] = report
        if start_ms + (WINDOWS - 1) * WINDOW_S * 1000 in reports:
            break
    return reports


def read_inference(inference: Reader, traffic: Traffic) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """(records by id, heartbeats), as any Kafka client sees them, until every id has come."""
    records: dict[str, dict[str, Any]] = {}
    heartbeats = []
    for message in inference.read_all(within_s=30):
        document = json.loads(message.value)
        if document["kind"] == "heartbeat":
            heartbeats.append(document)
            continue
        assert message.key.decode() == document["id"]
        assert document["id"] not in records, "a record came twice"
        records[document["id"]] = document
        if len(records) == len(traffic.ids):
            break
    return records, heartbeats


def windows_with_traffic(job: MainJob) -> list[SeenReport]:
    starts = [job.start_ms + number * WINDOW_S * 1000 for number in range(WINDOWS)]
    assert set(starts) <= set(job.reports), f"windows not closed: {sorted(set(starts) - set(job.reports))}"
    return [job.reports[start] for start in starts]


def test_every_request_is_answered(main_job: MainJob) -> None:
    assert main_job.progress == Progress(sent=SCHEDULE.requests, answered=SCHEDULE.requests)


def test_every_id_that_was_sent_has_its_record(main_job: MainJob) -> None:
    assert set(main_job.records) == set(main_job.traffic.ids)


def test_every_record_heartbeat_and_report_validates_against_its_schema(main_job: MainJob) -> None:
    for name, documents in (
        ("inference-record", main_job.records.values()),
        ("heartbeat", main_job.heartbeats),
        ("window-report", [report.document for report in main_job.reports.values()]),
    ):
        schema = json.loads((SCHEMAS / f"{name}.v1.json").read_text())
        validator = jsonschema.validators.validator_for(schema)(schema)
        assert [error.message for document in documents for error in validator.iter_errors(document)] == []


def test_a_record_holds_the_row_that_was_sent_and_the_prediction_given(main_job: MainJob) -> None:
    for identity, body in zip(main_job.traffic.ids, main_job.traffic.bodies, strict=True):
        record = main_job.records[identity]
        assert record["features"] == orjson.loads(body)["instances"]
        assert (record["status"], record["rows"], record["issues"]) == (200, 1, {})
        assert len(record["predictions"]) == 1


def test_every_window_is_closed_and_accounts_for_every_request_that_arrived_in_it(main_job: MainJob) -> None:
    # Counted anew from the records: when a request is sent does not say in which window it arrives.
    arrived = Counter(record["time_ms"] - record["time_ms"] % (WINDOW_S * 1000) for record in main_job.records.values())

    assert {report.start_ms: report.document["completeness"] for report in windows_with_traffic(main_job)} == {
        report.start_ms: {"seen": arrived[report.start_ms], "served": arrived[report.start_ms], "share": 1.0}
        for report in windows_with_traffic(main_job)
    }
    assert sum(arrived.values()) == SCHEDULE.requests


def test_before_the_drift_nothing_is_said_to_drift(main_job: MainJob) -> None:
    before = windows_with_traffic(main_job)[: SCHEDULE.drift_after_s // WINDOW_S]

    assert [report.drifted_features for report in before] == [[]] * len(before)


def test_every_window_after_it_names_the_drifted_features_and_no_other(main_job: MainJob) -> None:
    after = windows_with_traffic(main_job)[SCHEDULE.drift_after_s // WINDOW_S :]

    assert [sorted(report.drifted_features) for report in after] == [sorted(main_job.traffic.scenario.features)] * 3


def test_known_anomalies_are_flagged_and_normal_rows_are_not(main_job: MainJob) -> None:
    count = SCHEDULE.first_drifted
    flagged = [any(main_job.records[identity]["outlier"]) for identity in main_job.traffic.ids[:count]]
    anomaly = main_job.traffic.anomaly[:count]

    assert sum(flag for flag, known in zip(flagged, anomaly, strict=True) if known) >= 0.85 * anomaly.sum()
    assert sum(flag for flag, known in zip(flagged, anomaly, strict=True) if not known) <= 0.01 * count


def test_every_report_is_in_the_store(main_job: MainJob) -> None:
    with sqlite3.connect(main_job.directory / "tidegauge.db") as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = {table: store.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}

    assert max(counts.values()) >= WINDOWS, counts


V1 = ("/v1/models/shuttle:predict", {"instances": [OUTLIER]})
V2 = (
    "/v2/models/shuttle/infer",
    {"id": "fixed", "inputs": [{"name": "rows", "shape": [1, 9], "datatype": "FP64", "data": OUTLIER}]},
)


@pytest.mark.parametrize(("path", "document"), [V1, V2], ids=["v1", "v2"])
def test_the_answer_is_the_predictors_to_the_byte_with_the_score_beside_it(
    main_job: MainJob, path: str, document: dict[str, Any]
) -> None:
    direct = httpx.post(main_job.predictor.url + path, json=document)
    through = httpx.post(main_job.transformer.url + path, json=document, headers={"x-request-id": "asked-for"})

    assert (through.status_code, through.content) == (direct.status_code, direct.content)
    assert through.headers["x-request-id"] == "asked-for"
    assert through.headers["x-outlier"] == "1"
    assert float(through.headers["x-outlier-p-value"]) <= 0.001


def test_a_request_that_cannot_be_read_is_forwarded_and_logged_with_the_reason(main_job: MainJob) -> None:
    headers = {"x-request-id": "unreadable", "content-type": "application/json"}
    direct = httpx.post(main_job.predictor.url + V1[0], content=b'{"instances": [["a"]]}', headers=headers)
    through = httpx.post(main_job.transformer.url + V1[0], content=b'{"instances": [["a"]]}', headers=headers)

    assert (through.status_code, through.content) == (direct.status_code, direct.content)
    record = next(
        document
        for document in map(lambda message: json.loads(message.value), main_job.inference.read_all(within_s=30))
        if document.get("id") == "unreadable"
    )
    assert record["status"] == direct.status_code == 400
    assert record["issues"]


def test_the_account_balances(main_job: MainJob) -> None:
    account = main_job.heartbeats[-1]["account"]

    assert account["dropped"] == {}
    assert account["served"] == account["acknowledged"] + account["in_flight"]
