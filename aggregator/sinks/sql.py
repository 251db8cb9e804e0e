"""Reports in a SQL store, one row a report and one a feature; SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from aggregator.errors import StartError

METADATA: Final = sa.MetaData()


def _key_columns() -> list[sa.Column[Any]]:
    """The report's key: two reports with the same are the same."""
    return [
        sa.Column("monitor", sa.String(253), primary_key=True),
        sa.Column("version", sa.String(200), primary_key=True),
        sa.Column("baseline", sa.String(64), primary_key=True),
        sa.Column("window_start_ms", sa.BigInteger, primary_key=True),
        sa.Column("window_duration_ms", sa.BigInteger, primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
    ]


REPORTS: Final = sa.Table(
    "reports",
    METADATA,
    *_key_columns(),
    sa.Column("window_end_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("drifted", sa.Boolean, nullable=False),
    sa.Column("worst_feature", sa.Text),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("flagged", sa.BigInteger, nullable=False),
    sa.Column("seen", sa.BigInteger, nullable=False),
    sa.Column("served", sa.BigInteger),
    sa.Column("share", sa.Float),
    sa.Column("document", sa.Text, nullable=False),
)

FEATURES: Final = sa.Table(
    "report_features",
    METADATA,
    *_key_columns(),
    sa.Column("feature", sa.Text, primary_key=True),
    sa.Column("drifted", sa.Boolean, nullable=False),
    sa.Column("statistics", sa.Text, nullable=False),
    sa.Column("tests", sa.Text, nullable=False),
)

ALERTS: Final = sa.Table(
    "alerts",
    METADATA,
    sa.Column("id", sa.String(600), primary_key=True),
    sa.Column("monitor", sa.String(253), nullable=False, index=True),
    sa.Column("version", sa.String(200), nullable=False),
    sa.Column("baseline", sa.String(64), nullable=False),
    sa.Column("about", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("start_ms", sa.BigInteger, nullable=False),
    sa.Column("last_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("document", sa.Text, nullable=False),
)

PROVISIONAL: Final = sa.Table(
    "provisional",
    METADATA,
    sa.Column("monitor", sa.String(253), primary_key=True),
    sa.Column("version", sa.String(200), primary_key=True),
    sa.Column("window_start_ms", sa.BigInteger, nullable=False),
    sa.Column("window_end_ms", sa.BigInteger, nullable=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("drifted", sa.Boolean, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)
"""What is known of the window under way, the latest only: for live views."""

_INSERT: Final[Mapping[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class SqlStore:
    """Writes whole micro-batches: all of one or, when it raises, nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> SqlStore:
        """Creates the tables where they are missing. Raises StartError when the store cannot be used."""
        try:
            parsed = sa.make_url(url)
            shown = parsed.render_as_string(hide_password=True)
        except sa.exc.ArgumentError:
            raise StartError(f'store: expected a URL such as "sqlite:///tidegauge.db", got {url!r}') from None
        if parsed.get_backend_name() not in _INSERT:
            raise StartError(f"store {shown}: expected sqlite or postgresql, got {parsed.get_backend_name()}")
        try:
            engine = sa.create_engine(parsed)
            if parsed.get_backend_name() == "sqlite":
                sa.event.listen(engine, "connect", _let_readers_in)
            METADATA.create_all(engine)
        except ModuleNotFoundError as error:
            raise StartError(f"store {shown}: needs the Python package {error.name}; install it") from error
        except sa.exc.SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise StartError(f"store {shown}: cannot be opened: {reason}") from error
        return cls(engine)

    def write(self, reports: Iterable[bytes], alerts: Iterable[bytes] = (), provisional: Iterable[bytes] = ()) -> None:
        """
        Encoded WindowReports, Alerts, and reports on windows under way. Writing one again replaces its rows; of an
        incident, and of what is under way, the latest is kept.
        """
        documents = [orjson.loads(report) for report in reports]
        incidents = {alert["id"]: alert for alert in map(orjson.loads, alerts)}
        live = {(report["monitor"], report["version"]): report for report in map(orjson.loads, provisional)}
        if not documents and not incidents and not live:
            return
        with self._engine.begin() as connection:
            self._upsert(connection, REPORTS, [_report_row(document) for document in documents])
            self._upsert(connection, FEATURES, [row for document in documents for row in _feature_rows(document)])
            self._upsert(connection, ALERTS, [_alert_row(alert) for alert in incidents.values()])
            self._upsert(connection, PROVISIONAL, [_provisional_row(report) for report in live.values()])

    def close(self) -> None:
        self._engine.dispose()

    def _upsert(self, connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            connection.execute(upsert(self._engine.dialect.name, table), list(rows))


def upsert(dialect: str, table: sa.Table) -> sa.Insert:
    """Inserts a row, or replaces the one with the same primary key."""
    insert = _INSERT[dialect](table)
    replaced = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
    statement: sa.Insert = insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=replaced)
    return statement


def _let_readers_in(connection: DBAPIConnection, _record: object) -> None:
    """With a write-ahead log a dashboard can read while a micro-batch is written."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


def _key(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "monitor": document["monitor"],
        "version": document["version"],
        "baseline": document["baseline"],
        "window_start_ms": document["window"]["start_ms"],
        "window_duration_ms": document["window"]["duration_ms"],
        "revision": document["revision"],
    }


def _report_row(document: Mapping[str, Any]) -> dict[str, Any]:
    return _key(document) | {
        "window_end_ms": document["window"]["end_ms"],
        "model": document["model"],
        "drifted": document["drifted"],
        "worst_feature": document["worst_feature"],
        "requests": document["requests"],
        "rows": document["outliers"]["rows"],
        "flagged": document["outliers"]["flagged"],
        "seen": document["completeness"]["seen"],
        "served": document["completeness"]["served"],
        "share": document["completeness"]["share"],
        "document": orjson.dumps(document).decode(),
    }


def _provisional_row(document: Mapping[str, Any]) -> dict[str, Any]:
    whole = _report_row(document)
    return {column.name: whole[column.name] for column in PROVISIONAL.columns}


def _alert_row(document: Mapping[str, Any]) -> dict[str, Any]:
    columns = (column.name for column in ALERTS.columns if column.name != "document")
    return {name: document[name] for name in columns} | {"document": orjson.dumps(document).decode()}


def _feature_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        _key(document)
        | {
            "feature": feature["name"],
            "drifted": feature["drifted"],
            "statistics": orjson.dumps(feature["statistics"]).decode(),
            "tests": orjson.dumps(feature["tests"]).decode(),
        }
        for feature in document["features"]
    ]
