"""Reports and alerts in a SQL store, one row a report and one a feature; SQLite and PostgreSQL."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from aggregator.courier import Refused, SinkFailed
from aggregator.errors import StartError
from aggregator.evaluate import ALERT, PROVISIONAL, REPORT, Output
from aggregator.sinks import tables
from aggregator.sinks.rows import Report, feature_rows, read_report, report_row

log = logging.getLogger("aggregator")

EXPIRED_AT_ONCE: Final = 500
"""Reports in one step of the retention: a second of PostgreSQL's time at most, and then others may write."""

EXPIRY_S: Final = 60.0
"""From one look for old rows to the next, once there were none left."""

_INSERT: Final[Mapping[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

_SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "sqlite": {},
    # A connection that is gone is noticed before it is used; none waits for ever.
    "postgresql": {
        "pool_pre_ping": True,
        "connect_args": {"connect_timeout": 10, "options": "-c statement_timeout=60000 -c lock_timeout=30000"},
    },
}


class SqlStore:
    """Writes whole entries of the outbox: all of one or, when it raises, nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._has_tables = False
        self._upserts = {table.name: _upsert_of(engine.dialect, table) for table in tables.METADATA.sorted_tables}

    @classmethod
    def open(cls, url: str) -> SqlStore:
        """
        Creates the tables where they are missing. Raises StartError when the store cannot be used; a server that does
        not answer may do so later, and is no reason not to start.
        """
        try:
            parsed = sa.make_url(url)
            shown = parsed.render_as_string(hide_password=True)
        except sa.exc.ArgumentError:
            raise StartError(f'store: expected a URL such as "sqlite:///tidegauge.db", got {url!r}') from None
        backend = parsed.get_backend_name()
        if backend not in _INSERT:
            raise StartError(f"store {shown}: expected sqlite or postgresql, got {backend}")
        try:
            engine = sa.create_engine(parsed, **_SETTINGS[backend])
            if backend == "sqlite":
                sa.event.listen(engine, "connect", _set_up_sqlite)
            store = cls(engine)
            store._make_tables()
        except ModuleNotFoundError as error:
            raise StartError(f"store {shown}: needs the Python package {error.name}; install it") from error
        except sa.exc.OperationalError as error:
            if backend == "sqlite":
                raise StartError(f"store {shown}: cannot be opened: {_reason(error)}") from error
            log.warning("store_unreachable %s: %s", shown, _reason(error))
        except sa.exc.SQLAlchemyError as error:
            raise StartError(f"store {shown}: cannot be opened: {_reason(error)}") from error
        return store

    def write(self, reports: Iterable[bytes], alerts: Iterable[bytes] = (), provisional: Iterable[bytes] = ()) -> None:
        """
        Encoded WindowReports, Alerts, and reports on windows under way. Writing one again replaces its rows; of an
        incident, and of what is under way, the latest is kept.
        """
        read = list(map(_read, reports))
        incidents = {alert["id"]: alert for alert in map(orjson.loads, alerts)}
        live = {(report.monitor, report.version): (report, value) for report, value in map(_read, provisional)}
        if not read and not incidents and not live:
            return
        self._make_tables()
        with self._engine.begin() as connection:
            self._upsert(connection, tables.REPORTS, [report_row(*one) for one in read])
            self._upsert(connection, tables.FEATURES, [row for report, _ in read for row in feature_rows(report)])
            self._upsert(connection, tables.ALERTS, [_alert_row(alert) for alert in incidents.values()])
            self._upsert(connection, tables.PROVISIONAL, [_provisional_row(*one) for one in live.values()])

    def expire(self, monitor: str, before_ms: int) -> bool:
        """
        Deletes up to EXPIRED_AT_ONCE of the monitor's oldest reports on windows that ended before then, with their
        features, or when there are none, its alerts of that age that are resolved. Whether more may be left.
        """
        self._make_tables()
        reports = tables.REPORTS
        key = [reports.c[column.name] for column in tables.key_columns()]
        old = (
            sa.select(*key)
            .where(reports.c.monitor == monitor, reports.c.window_end_ms < before_ms)
            .order_by(reports.c.window_end_ms, *key)
            .limit(EXPIRED_AT_ONCE)
        )
        with self._engine.begin() as connection:
            chosen = [dict(row._mapping) for row in connection.execute(old)]
            if chosen:
                for table in (tables.FEATURES, reports):
                    connection.execute(
                        _delete_by_key(table), [{f"k_{name}": value for name, value in row.items()} for row in chosen]
                    )
                return True
            alerts = tables.ALERTS
            connection.execute(
                sa.delete(alerts).where(
                    alerts.c.monitor == monitor, alerts.c.last_ms < before_ms, alerts.c.status == "resolved"
                )
            )
        return False

    def close(self) -> None:
        self._engine.dispose()

    def _make_tables(self) -> None:
        if not self._has_tables:
            tables.METADATA.create_all(self._engine)
            self._has_tables = True

    def _upsert(self, connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            # As the driver takes it: SQLAlchemy's own handling of each value would be a third of the time.
            statement, columns = self._upserts[table.name]
            connection.exec_driver_sql(statement, [columns(row) for row in rows])


class SqlSink:
    """retention_ms: by monitor, how long its reports are kept; monitors without one keep theirs for ever."""

    name: Final = "sql"

    def __init__(self, store: SqlStore, retention_ms: Mapping[str, int], clock_ms: Callable[[], int]) -> None:
        self._store, self._retention_ms, self._clock_ms = store, retention_ms, clock_ms
        self._looked_s: dict[str, float] = {}

    def write(self, outputs: Sequence[Output]) -> None:
        try:
            self._write(outputs)
        except _HOPELESS:
            self._write_one_by_one(outputs)

    def idle(self) -> None:
        """One bounded step, and the next a second later: what comes to be written never waits long for it."""
        for monitor, kept_ms in self._retention_ms.items():
            if time.monotonic() - self._looked_s.get(monitor, float("-inf")) < EXPIRY_S:
                continue
            with _failures_told():
                more = self._store.expire(monitor, self._clock_ms() - kept_ms)
            if not more:
                self._looked_s[monitor] = time.monotonic()
            return

    def close(self) -> None:
        """The store is closed by who opened it."""

    def _write(self, outputs: Sequence[Output]) -> None:
        values = ([output.value for output in outputs if output.kind == kind] for kind in (REPORT, ALERT, PROVISIONAL))
        with _failures_told():
            self._store.write(*values)

    def _write_one_by_one(self, outputs: Sequence[Output]) -> None:
        refused, reason = [], ""
        for output in outputs:
            try:
                self._write([output])
            except _HOPELESS as error:
                refused.append(output)
                reason = type(error).__name__
        if refused:
            raise Refused(reason, refused)


_HOPELESS: Final = (sa.exc.DataError, sa.exc.IntegrityError, ValueError, KeyError)
"""What no repetition will change."""


@contextmanager
def _failures_told() -> Iterator[None]:
    """Errors of the database as SinkFailed, without the statement and its values."""
    try:
        yield
    except _HOPELESS:
        raise
    except sa.exc.SQLAlchemyError as error:
        raise SinkFailed(_reason(error)) from None


def upsert(dialect: str, table: sa.Table) -> sa.Insert:
    """Inserts a row, or replaces the one with the same primary key."""
    insert = _INSERT[dialect](table)
    replaced = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
    statement: sa.Insert = insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=replaced)
    return statement


def _upsert_of(dialect: sa.Dialect, table: sa.Table) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
    """The statement, and what makes a row's parameters of it."""
    compiled = upsert(dialect.name, table).compile(dialect=dialect)
    return str(compiled), itemgetter(*compiled.positiontup) if compiled.positiontup else dict


def _delete_by_key(table: sa.Table) -> sa.Delete:
    names = [column.name for column in tables.key_columns()]
    return sa.delete(table).where(*(table.c[name] == sa.bindparam(f"k_{name}") for name in names))


def _reason(error: sa.exc.SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _set_up_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """With a write-ahead log a dashboard can read while an entry is written."""
    cursor = connection.cursor()
    # Of a new file. A report is some hundred kB, and each page of it is written by a call of its own.
    cursor.execute("PRAGMA page_size=16384")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


def _read(value: bytes) -> tuple[Report, bytes]:
    return read_report(value), value


def _provisional_row(report: Report, value: bytes) -> dict[str, Any]:
    whole = report_row(report, value)
    return {column.name: whole[column.name] for column in tables.PROVISIONAL.columns}


def _alert_row(document: Mapping[str, Any]) -> dict[str, Any]:
    columns = (column.name for column in tables.ALERTS.columns if column.name != "document")
    return {name: document[name] for name in columns} | {"document": orjson.dumps(document).decode()}
