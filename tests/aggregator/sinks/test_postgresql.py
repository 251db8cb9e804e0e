"""The SQL store on a real PostgreSQL, which goes away and comes back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from aggregator.courier import Courier, Refused
from aggregator.evaluate import ALERT, REPORT, Output
from aggregator.outbox import Outbox
from aggregator.packed import packed
from aggregator.sinks.sql import EXPIRED_AT_ONCE, SqlSink, SqlStore
from tests.aggregator.doors import START_MS
from tests.aggregator.sinks.test_sql import report
from tests.support.postgres import PostgresServer
from tests.support.schemas import DATA
from tests.support.waiting import wait_until


def output(value: bytes, kind: str = REPORT) -> Output:
    return Output(kind, "tidegauge.statistics", "key", value)


def sink(postgres: PostgresServer, *, now_ms: int = START_MS, kept_ms: int | None = None) -> SqlSink:
    retention = {} if kept_ms is None else {"doors": kept_ms}
    return SqlSink(SqlStore.open(postgres.url), retention, lambda: now_ms)


def everything(postgres: PostgresServer) -> list[list[Any]]:
    return [sorted(postgres.query(f"SELECT * FROM {table}")) for table in ("reports", "report_features", "alerts")]


def test_reports_and_alerts_are_written_once_however_often_they_come(postgres: PostgresServer) -> None:
    alert = (DATA / "alerts" / "alert-v1.json").read_bytes()
    entry = [output(report(0)), output(report(5_000)), output(alert, ALERT)]
    writer = sink(postgres)
    writer.write(entry)
    before = everything(postgres)
    writer.write(entry)
    writer.write([output(report(0, seconds=2))])
    writer.write(entry)
    assert everything(postgres) == before
    assert list(map(len, before)) == [2, 2 * 3, 1]
    ((document,),) = postgres.query(f"SELECT document FROM reports WHERE window_start_ms = {START_MS}")
    assert orjson.loads(document) == orjson.loads(report(0))


def test_what_comes_while_it_is_down_is_written_when_it_is_back(postgres: PostgresServer, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, [REPORT], maximum_bytes=1 << 30)
    courier = Courier(sink(postgres), outbox)
    outbox.follow(["sql"])
    courier.start()
    try:
        outbox.append(packed([output(report(0))]))
        wait_until(lambda: courier.waiting == 0, within_s=30, what="the first report")
        postgres.stop()
        outbox.append(packed([output(report(5_000))]))
        outbox.append(packed([output(report(10_000))]))
        wait_until(lambda: courier.failures >= 2, within_s=60, what="some attempts")
        assert courier.waiting == 2
        postgres.start()
        wait_until(lambda: courier.waiting == 0, within_s=90, what="the reports that waited")
    finally:
        if postgres._server is None:
            postgres.start()
        courier.finish(deadline=time.monotonic() + 10)
    rows = postgres.query("SELECT window_start_ms FROM reports ORDER BY 1")
    assert [start for (start,) in rows] == [START_MS, START_MS + 5_000, START_MS + 10_000]


def test_a_server_that_is_down_at_the_start_is_no_reason_not_to_start(postgres: PostgresServer) -> None:
    postgres.stop()
    try:
        writer = sink(postgres)
    finally:
        postgres.start()
    writer.write([output(report(0))])
    assert postgres.query("SELECT count(*) FROM reports") == [(1,)]


def test_what_postgresql_cannot_keep_is_refused_alone(postgres: PostgresServer) -> None:
    with_zero = orjson.dumps(orjson.loads(report(5_000)) | {"worst_feature": "a\x00b"})
    with pytest.raises(Refused) as refused:
        sink(postgres).write([output(report(0)), output(with_zero), output(report(10_000))])
    assert [told.value for told in refused.value.outputs] == [with_zero]
    assert postgres.query("SELECT count(*) FROM reports") == [(2,)]


def test_old_reports_go_in_bounded_steps_and_the_others_stay(postgres: PostgresServer) -> None:
    document = orjson.loads(report(0))
    writer = sink(postgres, now_ms=START_MS + 3_600_000 + 10_000, kept_ms=3_600_000)
    reports = []
    for number in range(EXPIRED_AT_ONCE + 20):
        window = {"start_ms": number * 5_000, "end_ms": number * 5_000 + 5_000, "duration_ms": 5_000}
        reports.append(output(orjson.dumps(document | {"window": window})))
    writer.write([*reports, output(report(0)), output(report(10_000))])
    writer.idle()
    assert postgres.query("SELECT count(*) FROM reports") == [(20 + 2,)]
    writer.idle()
    writer.idle()
    assert postgres.query("SELECT window_start_ms FROM reports") == [(START_MS + 10_000,)]
    assert postgres.query("SELECT count(*) FROM report_features") == [(3,)]
