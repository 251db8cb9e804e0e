from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from aggregator.errors import StartError
from aggregator.sinks.sql import SqlStore, upsert
from aggregator.sinks.tables import REPORTS
from tests.aggregator.doors import judged, window_key
from tests.support.schemas import DATA


def report(start_ms: int = 0, *, revision: int = 0, seconds: int = 5) -> bytes:
    return judged(start_ms, revision=revision, seconds=seconds).encode()


def query(path: Path, statement: str) -> list[Any]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reports.db"


@pytest.fixture
def store(path: Path) -> SqlStore:
    return SqlStore.open(f"sqlite:///{path}")


def test_of_windows_under_way_the_latest_is_kept(store: SqlStore, path: Path) -> None:
    store.write([], [], [report(0), report(5_000)])
    store.write([], [], [report(10_000)])
    columns = "monitor, version, window_start_ms, requests"
    assert query(path, f"SELECT {columns} FROM provisional") == [("doors", "1", window_key(10_000).start_ms, 100)]
    assert query(path, "SELECT * FROM reports") == []


def test_a_report_is_one_row_and_one_row_for_each_feature(store: SqlStore, path: Path) -> None:
    written = report()
    store.write([written])
    columns = (
        "monitor, version, window_end_ms - window_start_ms, revision, drifted, requests, rows, seen, served, share"
    )
    assert query(path, f"SELECT {columns} FROM reports") == [("doors", "1", 5_000, 0, 1, 100, 100, 100, 100, 1.0)]
    assert query(path, "SELECT feature FROM report_features ORDER BY feature") == [("colour",), ("height",), ("open",)]
    ((document,),) = query(path, "SELECT document FROM reports")
    assert orjson.loads(document) == orjson.loads(written)


def test_writing_a_micro_batch_twice_is_writing_it_once(store: SqlStore, path: Path) -> None:
    reports = [report(0), report(5_000)]
    store.write(reports)
    before = query(path, "SELECT * FROM reports") + query(path, "SELECT * FROM report_features")
    store.write(reports)
    assert query(path, "SELECT * FROM reports") + query(path, "SELECT * FROM report_features") == before


def test_a_report_that_is_written_again_replaces_its_rows(store: SqlStore, path: Path) -> None:
    store.write([report(seconds=2)])
    store.write([report(seconds=5)])
    assert query(path, "SELECT requests FROM reports") == [(100,)]
    ((statistics,),) = query(path, "SELECT statistics FROM report_features WHERE feature = 'open'")
    assert orjson.loads(statistics)["count"] == 100


def test_a_revision_stands_beside_what_it_corrects(store: SqlStore, path: Path) -> None:
    store.write([report(), report(revision=1)])
    assert query(path, "SELECT revision FROM reports ORDER BY revision") == [(0,), (1,)]


def test_a_micro_batch_that_fails_leaves_nothing_behind(store: SqlStore, path: Path) -> None:
    alert = orjson.loads((DATA / "alerts" / "alert-v1.json").read_bytes())
    with pytest.raises(sa.exc.IntegrityError):
        store.write([report(0)], [orjson.dumps(alert | {"status": None})])
    with pytest.raises(ValueError, match=r"model"):
        store.write([report(0), orjson.dumps(orjson.loads(report(5_000)) | {"model": None})])
    assert query(path, "SELECT * FROM reports") == []


def test_a_reader_does_not_wait_for_a_writer(store: SqlStore, path: Path) -> None:
    assert query(path, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("reports.db", "expected a URL"),
        ("mysql://localhost/reports", "expected sqlite or postgresql, got mysql"),
        ("sqlite:////nowhere/at/all/reports.db", "cannot be opened: unable to open database file"),
        ("postgresql+nothing://user:secret@localhost/reports", "nothing"),
    ],
    ids=["path", "mysql", "directory", "driver"],
)
def test_a_store_that_cannot_be_used_is_named_with_the_reason(url: str, problem: str) -> None:
    with pytest.raises(StartError) as raised:
        SqlStore.open(url)
    assert problem in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_postgresql_gets_an_upsert_by_the_reports_key() -> None:
    statement = str(upsert("postgresql", REPORTS).compile(dialect=postgresql.dialect()))
    assert (
        "ON CONFLICT (monitor, version, baseline, window_start_ms, window_duration_ms, revision) DO UPDATE" in statement
    )


def test_of_an_incident_the_latest_alert_is_kept(store: SqlStore, path: Path) -> None:
    firing = orjson.loads((DATA / "alerts" / "alert-v1.json").read_bytes())
    resolved = firing | {"status": "resolved", "last_ms": 40_000}
    other = firing | {"id": "doors/1/ffffffffffff/drift/50000"}
    store.write([], [orjson.dumps(firing)])
    store.write([], map(orjson.dumps, [firing, resolved, other]))
    rows = query(path, "SELECT id, status, last_ms, document FROM alerts ORDER BY id")
    assert [row[:3] for row in rows] == [(firing["id"], "resolved", 40_000), (other["id"], "firing", 20_000)]
    assert orjson.loads(rows[0][3]) == resolved
