"""
Reports as Parquet files, for those who analyse them: reports/ and features/, each by monitor and date.

A file is one report, named by the report's key: written again it is replaced by the same, and no file is ever changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from aggregator.courier import SinkFailed
from aggregator.durable import write_durably
from aggregator.evaluate import REPORT, Output
from aggregator.sinks.rows import Report, feature_rows, read_report, report_row

_KEY: Final = [
    ("version", pa.string()),
    ("baseline", pa.string()),
    ("window_start_ms", pa.int64()),
    ("window_duration_ms", pa.int64()),
    ("revision", pa.int32()),
]

REPORTS: Final = pa.schema(
    [
        *_KEY,
        ("window_end_ms", pa.int64()),
        ("model", pa.string()),
        ("drifted", pa.bool_()),
        ("worst_feature", pa.string()),
        ("requests", pa.int64()),
        ("rows", pa.int64()),
        ("flagged", pa.int64()),
        ("seen", pa.int64()),
        ("served", pa.int64()),
        ("share", pa.float64()),
        ("document", pa.string()),
    ]
)

FEATURES: Final = pa.schema(
    [*_KEY, ("feature", pa.string()), ("drifted", pa.bool_()), ("statistics", pa.string()), ("tests", pa.string())]
)
"""statistics, tests, document: JSON. The monitor is in the path."""


class ParquetSink:
    """directories: by monitor; others' reports are left out."""

    name: Final = "parquet"

    def __init__(self, directories: Mapping[str, Path]) -> None:
        self._directories = directories

    def write(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if output.kind == REPORT:
                report = read_report(output.value)
                directory = self._directories.get(report.monitor)
                if directory is not None:
                    _write(directory, report, output.value)

    def idle(self) -> None: ...

    def close(self) -> None: ...


def _write(directory: Path, report: Report, value: bytes) -> None:
    window = report.window
    date = datetime.fromtimestamp(window.start_ms / 1000, UTC).date().isoformat()
    served = hashlib.sha256(f"{report.version}/{report.baseline}".encode()).hexdigest()[:12]
    name = f"{window.start_ms}-{window.duration_ms}-{served}-{report.revision}.parquet"
    place = Path(f"monitor={report.monitor}", f"date={date}", name)
    # The report last: where it is, so are its features.
    for dataset, rows, schema in (
        ("features", feature_rows(report), FEATURES),
        ("reports", [report_row(report, value)], REPORTS),
    ):
        table = pa.Table.from_pylist([{field: row[field] for field in schema.names} for row in rows], schema=schema)
        path = directory / dataset / place
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, lambda file, table=table: pq.write_table(table, file, compression="zstd"))  # type: ignore[misc]
        except OSError as error:
            raise SinkFailed(f"{error.strerror}") from None
