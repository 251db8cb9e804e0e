"""CSV, Parquet and Arrow files as tables that can be read again and again in bounded memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli.csv_files import CsvFile
from tidegauge.errors import InvalidBaseline
from tidegauge.frames import NEEDS_EXTRA
from tidegauge.gathering import Told
from tidegauge.tables import Tables

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES: Final = (".csv", ".csv.gz", ".parquet", ".arrow", ".feather")
_EXPECTED: Final = ".csv, .csv.gz, .parquet, .arrow or .feather file"


def open_tables(paths: Sequence[str], told: Told) -> Tables:
    """
    paths: files with the same columns, directories of them, or patterns such as "part-*.parquet"; read in the order
    given, each directory's and pattern's in the order of names. Raises InvalidBaseline naming the file.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise InvalidBaseline(NEEDS_EXTRA) from error
    files = [_open(path, told) for given in paths for path in _files(given)]
    return files[0] if len(files) == 1 else _Several(files, _one_schema(files))


def _files(given: str) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(SUFFIXES))
        if not found:
            raise InvalidBaseline(f"{path} has no {_EXPECTED}")
        return found
    if not path.exists() and glob.has_magic(given):
        matching = [Path(name) for name in sorted(glob.glob(given, recursive=True)) if Path(name).is_file()]
        if not matching:
            raise InvalidBaseline(f"{given}: no such files")
        return matching
    if not path.name.endswith(SUFFIXES):
        raise InvalidBaseline(f"{path}: expected a {_EXPECTED}")
    if not path.is_file():
        raise InvalidBaseline(f"{path}: no such file")
    return [path]


def _open(path: Path, told: Told) -> Tables:
    import pyarrow as pa

    try:
        if path.suffix == ".parquet":
            return _Guarded(_ParquetFile(path))
        if path.suffix in (".arrow", ".feather"):
            return _Guarded(_ArrowFile(path))
        return _Guarded(CsvFile.open(path, lambda share: told(f"looking through {path.name}", share)))
    except (pa.ArrowException, OSError) as error:
        raise _said(str(path), error) from error


def _said(name: str, error: Exception) -> InvalidBaseline:
    return InvalidBaseline(f"{name}: {(str(error).splitlines() or [type(error).__name__])[0]}")


@dataclass(frozen=True)
class _Guarded:
    """Tables whose Arrow errors are InvalidBaseline while they are read, too."""

    tables: Tables

    @property
    def name(self) -> str:
        return self.tables.name

    @property
    def schema(self) -> pa.Schema:
        return self.tables.schema

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
        import pyarrow as pa

        try:
            yield from self.tables.batches(columns)
        except (pa.ArrowException, OSError) as error:
            raise _said(self.name, error) from error


class _ParquetFile:
    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        self.name = str(path)
        with parquet.ParquetFile(path) as file:
            self.schema = file.schema_arrow

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
        from pyarrow import parquet

        # Neither mapped nor read ahead: whole row groups would be in memory.
        with parquet.ParquetFile(self.name, memory_map=False, pre_buffer=False) as file:
            rows, read = max(file.metadata.num_rows, 1), 0
            for batch in file.iter_batches(batch_size=_ROWS, columns=list(columns)):
                read += batch.num_rows
                yield batch, read / rows


class _ArrowFile:
    """The IPC file format, which Feather's second version is."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.name = str(path)
        with pa.OSFile(self.name) as file:
            self.schema = pa.ipc.open_file(file).schema

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
        import pyarrow as pa

        with pa.OSFile(self.name) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                whole = reader.get_batch(number).select(list(columns))
                for start in range(0, whole.num_rows, _ROWS):
                    yield whole.slice(start, _ROWS), (number + 1) / reader.num_record_batches


_ROWS: Final = 1 << 16
"""Of a batch: of 30 columns, 16 MB."""


@dataclass(frozen=True)
class _Several:
    files: Sequence[Tables]
    schema: pa.Schema

    @property
    def name(self) -> str:
        return f"{self.files[0].name} ..."

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
        sizes = [os.path.getsize(file.name) for file in self.files]
        whole, before = max(sum(sizes), 1), 0
        wanted = self._part(columns)
        for file, size in zip(self.files, sizes, strict=True):
            for batch, share in file.batches(columns):
                yield batch.select(list(columns)).cast(wanted), (before + share * size) / whole
            before += size

    def _part(self, columns: Sequence[str]) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([self.schema.field(name) for name in columns])


def _one_schema(files: Sequence[Tables]) -> pa.Schema:
    """The files' columns, numbers of different types as the wider one. Raises InvalidBaseline naming a file."""
    import pyarrow as pa

    schema = files[0].schema
    for file in files[1:]:
        if sorted(file.schema.names) != sorted(schema.names):
            raise InvalidBaseline(f"{file.name} has other columns than {files[0].name}")
        try:
            schema = pa.unify_schemas([schema, file.schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise InvalidBaseline(f"{file.name} and {files[0].name} differ: {str(error).splitlines()[0]}") from error
    return schema
