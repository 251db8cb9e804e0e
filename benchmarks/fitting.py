"""
Fitting a baseline on data larger than its memory: peak memory and time of `tidegauge baseline fit`.

The command runs in a process of its own, whose largest resident set the system reports when it has ended.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from benchmarks.figures import show, write

ROWS: Final = 10_000_000
FEATURES: Final = 30
CSV_ROWS: Final = 1_000_000
BATCH_ROWS: Final = 100_000
LIMIT_MIB: Final = 2048


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        large, text = Path(directory, "rows.parquet"), Path(directory, "rows.csv")
        write_rows(large, text)
        figures: dict[str, float] = {"rows": ROWS, "features": FEATURES, "csv_rows": CSV_ROWS}
        for name, path in (("parquet", large), ("csv", text)):
            figures[f"{name}_seconds"], figures[f"{name}_peak_mib"] = measured_fit(
                path, Path(directory, "profile.json")
            )
        figures["peak_mib"] = max(figures["parquet_peak_mib"], figures["csv_peak_mib"])
        figures["limit_mib"] = LIMIT_MIB
    show(f"Fitting {ROWS:,} rows x {FEATURES} features (CSV: {CSV_ROWS:,})", figures, unit="s, MiB")
    write("fitting", {"figures": figures})


def write_rows(large: Path, text: Path) -> None:
    """Numbers with fractions, one feature in ten with gaps; the CSV file has the first of them."""
    rng = np.random.default_rng(1)
    schema = pa.schema([(f"f{position}", pa.float64()) for position in range(FEATURES)])
    with parquet.ParquetWriter(large, schema) as of_all, csv.CSVWriter(text, schema) as of_some:
        for start in range(0, ROWS, BATCH_ROWS):
            columns = rng.normal(size=(FEATURES, BATCH_ROWS))
            columns[::10, ::50] = np.nan
            batch = pa.record_batch([pa.array(column, from_pandas=True) for column in columns], schema=schema)
            of_all.write_batch(batch)
            if start < CSV_ROWS:
                of_some.write_batch(batch)


def measured_fit(data: Path, output: Path) -> tuple[float, float]:
    """Seconds, and the largest resident set in MiB."""
    program = [sys.executable, "-m", "cli.main", "baseline", "fit", str(data), "-o", str(output)]
    begun = time.monotonic()
    pid = os.posix_spawn(sys.executable, program, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"fitting {data.name} failed: exit code {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - begun, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
