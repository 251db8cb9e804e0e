"""A CSV file in Arrow batches of bounded size, each column of the type that all of its values have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES: Final = 4 << 20


class CsvFile:
    """See tidegauge.tables.Tables. An empty field is a missing value, so are NA, null and the like unless quoted."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.name, self.schema, self._path = str(path), schema, path

    @classmethod
    def open(cls, path: Path, reading: Callable[[float], None]) -> CsvFile:
        """
        Reads it once to find the types: Arrow's reader takes them from the first block alone, and a column of whole
        numbers may go on with fractions. reading: called with the share read.
        """
        import pyarrow as pa

        schema, batches = _read(path)
        try:
            for _, share in batches:
                reading(share)
        except pa.ArrowInvalid as error:
            if "conversion error" not in str(error):
                raise
            schema = _types_of_all(path, schema.names, reading)
        return cls(path, schema)

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
        types = {field.name: field.type for field in self.schema}
        yield from _read(self._path, column_types=types, include_columns=list(columns))[1]


def _read(path: Path, **options: Any) -> tuple[pa.Schema, Iterator[tuple[pa.RecordBatch, float]]]:
    import pyarrow as pa
    from pyarrow import csv

    # No Python file: Arrow's threads may still read ahead when the interpreter ends.
    raw = pa.OSFile(str(path))
    stream = pa.CompressedInputStream(raw, "gzip") if path.suffix == ".gz" else raw
    reader = csv.open_csv(
        stream,
        read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
        # An unquoted empty text is missing, as in the formats that know missing values; "" is a text.
        convert_options=csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False, **options),
    )
    size = max(path.stat().st_size, 1)

    def batches() -> Iterator[tuple[pa.RecordBatch, float]]:
        for batch in reader:
            yield batch, 1.0 if raw.closed else min(1.0, raw.tell() / size)

    return reader.schema, batches()


def _types_of_all(path: Path, names: Sequence[str], reading: Callable[[float], None]) -> pa.Schema:
    """Of the types in Arrow's order of preference, per column the first that every value has; else text."""
    import pyarrow as pa
    from pyarrow import compute

    ladder = [pa.null(), pa.int64(), pa.bool_(), pa.float64()]
    possible = {name: list(ladder) for name in names}
    for batch, share in _read(path, column_types=dict.fromkeys(names, pa.string()))[1]:
        reading(share)
        for name, types in possible.items():
            values = compute.utf8_trim_whitespace(batch.column(name))
            possible[name] = [kind for kind in types if _all_are(kind, values)]
    return pa.schema([(name, types[0] if types else pa.string()) for name, types in possible.items()])


def _all_are(kind: pa.DataType, values: pa.Array) -> bool:
    import pyarrow as pa

    if pa.types.is_null(kind):
        return bool(values.null_count == len(values))
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
