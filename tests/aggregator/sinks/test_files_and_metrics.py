"""Reports in Parquet files, and what /metrics tells of them."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import orjson
import pyarrow.dataset as ds
import pytest

from aggregator.courier import Courier
from aggregator.errors import StartError
from aggregator.evaluate import ALERT, CLOSED, LATE, REPORT, STATE, TALLY, Output
from aggregator.outbox import Outbox
from aggregator.packed import packed
from aggregator.sinks.parquet import ParquetSink
from aggregator.sinks.prometheus import VERSIONS, Metrics, serve
from aggregator.told import told_of_report
from aggregator.watching import MicroBatch
from localsystem.ports import HOST, free_ports
from tests.aggregator.doors import START_MS, judged
from tests.aggregator.sinks.test_sql import report
from tests.support.schemas import DATA

ALERT_DOCUMENT = json.loads((DATA / "alerts" / "alert-v1.json").read_text())


def test_reports_become_files_by_monitor_and_date_once_however_often_they_come(tmp_path: Path) -> None:
    sink = ParquetSink({"doors": tmp_path})
    other = orjson.dumps(orjson.loads(report(0)) | {"monitor": "gates"})
    outputs = [
        Output(REPORT, "t", "k", value) for value in (report(0), report(5_000), report(5_000, revision=1), other)
    ]
    sink.write(outputs)
    sink.write(outputs)
    table = ds.dataset(tmp_path / "reports", partitioning="hive").to_table().sort_by("window_start_ms")
    assert table.column("monitor").to_pylist() == ["doors"] * 3
    assert set(map(str, table.column("date").to_pylist())) == {"2023-11-14"}
    assert sorted(zip(*(table.column(n).to_pylist() for n in ("window_start_ms", "revision")), strict=True)) == [
        (START_MS, 0),
        (START_MS + 5_000, 0),
        (START_MS + 5_000, 1),
    ]
    assert orjson.loads(table.column("document")[0].as_py()) == orjson.loads(report(0))
    features = ds.dataset(tmp_path / "features", partitioning="hive").to_table()
    assert sorted(set(features.column("feature").to_pylist())) == ["colour", "height", "open"]
    assert features.num_rows == 9


def test_a_report_that_is_written_again_replaces_its_file(tmp_path: Path) -> None:
    sink = ParquetSink({"doors": tmp_path})
    sink.write([Output(REPORT, "t", "k", report(0, seconds=2))])
    sink.write([Output(REPORT, "t", "k", report(0))])
    table = ds.dataset(tmp_path / "reports", partitioning="hive").to_table()
    assert table.column("requests").to_pylist() == [100]


def scrape(metrics: Metrics) -> dict[str, float]:
    port = free_ports(1)[0]
    end = serve(metrics, port)
    try:
        text = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{HOST}:{port}/metrics").read()
        with pytest.raises(StartError, match="give a free one"):
            serve(metrics, port)
    finally:
        end()
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


class Nowhere:
    name = "nowhere"

    def write(self, outputs: object) -> None: ...

    def idle(self) -> None: ...

    def close(self) -> None: ...


def test_verdicts_alerts_stream_and_sinks_are_told(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "open.json")
    outbox = Outbox(tmp_path / "outbox", [REPORT], maximum_bytes=1)
    outbox.follow(["nowhere"])
    outbox.append(packed([Output(REPORT, "t", "k", b"{}")]))
    metrics.follow([Courier(Nowhere(), outbox)], [outbox], ["doors"])
    metrics.output(CLOSED, told_of_report(judged()))
    metrics.output(ALERT, ALERT_DOCUMENT)
    metrics.output(TALLY, {"reason": "not_json", "count": 3})
    metrics.output(LATE, {"reason": "late", "records": 2})
    state = {"monitor": "doors", "lag_ms": 1500, "open_windows": 1, "kept_windows": 2, "state_bytes": 3}
    metrics.output(STATE, state)
    behind = {"tidegauge.inference": 4}
    metrics.progressed(
        MicroBatch(ended_s=7.5, took_s=0.5, records=10, behind=behind, state_rows=2, state_memory_bytes=9)
    )
    told = scrape(metrics)
    assert told['tidegauge_drifted{monitor="doors",version="1"}'] == 1
    assert told['tidegauge_completeness{monitor="doors",version="1"}'] == 1
    assert told['tidegauge_window_end_seconds{monitor="doors",version="1"}'] == (START_MS + 5_000) / 1000
    assert told['tidegauge_worst_effect{monitor="doors",test="jensen_shannon",version="1"}'] > 0
    assert told['tidegauge_windows_total{monitor="doors",verdict="drift"}'] == 1
    assert told['tidegauge_alerts_firing{about="drift",monitor="doors",severity="warning"}'] == 1
    assert told['tidegauge_dead_letters_total{reason="not_json"}'] == 3
    assert told['tidegauge_dead_letters_total{reason="late"}'] == 2
    assert told['tidegauge_event_time_lag_seconds{monitor="doors"}'] == 1.5
    assert told["tidegauge_messages_total"] == 10
    assert told['tidegauge_behind_messages{topic="tidegauge.inference"}'] == 4
    assert told["tidegauge_micro_batch_seconds"] == 0.5
    assert told["tidegauge_micro_batch_end_seconds"] == 7.5
    assert told["tidegauge_state_rows"] == 2
    assert told["tidegauge_state_memory_bytes"] == 9
    assert told['tidegauge_sink_waiting{sink="nowhere"}'] == 1
    assert told['tidegauge_sink_failures_total{sink="nowhere"}'] == 0
    assert told["tidegauge_outbox_bytes"] > 0


def test_alerts_that_fire_are_known_after_a_restart_until_they_are_resolved(tmp_path: Path) -> None:
    Metrics(tmp_path / "open.json").output(ALERT, ALERT_DOCUMENT)
    metrics = Metrics(tmp_path / "open.json")
    firing = 'tidegauge_alerts_firing{about="drift",monitor="doors",severity="warning"}'
    assert scrape(metrics)[firing] == 1
    metrics.output(ALERT, ALERT_DOCUMENT | {"status": "resolved"})
    assert firing not in scrape(metrics)


def test_labels_are_bounded(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "open.json")
    closed = told_of_report(judged())
    for number in range(VERSIONS + 5):
        metrics.output(CLOSED, closed | {"version": f"v{number}", "end_ms": START_MS + number})
    told = [name for name in scrape(metrics) if name.startswith("tidegauge_drifted{")]
    assert len(told) == VERSIONS
    assert any('"v14"' in name for name in told)
    metrics.follow([], [], [])
    assert not [name for name in scrape(metrics) if name.startswith("tidegauge_drifted{")]
