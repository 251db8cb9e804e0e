"""Past messages of the inference topic, from the topic itself or from Parquet files, as the fold takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.dataset as ds

from tidegauge.errors import InvalidBaseline

if TYPE_CHECKING:
    from cli.topic import TopicSource

BATCH: Final = 20_000


def from_topic(source: TopicSource) -> Iterator[tuple[pa.RecordBatch, float]]:
    """With the share that has been read. Raises InvalidBaseline when the broker does not answer."""
    topic = source.monitor.kafka.topics.inference.name
    for partition, messages, share in source.messages():
        values = [message.value() for message in messages]
        yield batch_of(topic, partition, messages[0].offset(), values), share


def from_parquet(paths: Sequence[Path]) -> Iterator[tuple[pa.RecordBatch, float]]:
    """Raises InvalidBaseline when the files cannot be used."""
    try:
        files = ds.dataset([str(file) for path in paths for file in _files(path)], format="parquet")
        if "value" not in files.schema.names:
            raise InvalidBaseline(f"{paths[0]}: no column `value` with messages, but {', '.join(files.schema.names)}")
        whole, read = max(files.count_rows(), 1), 0
        for batch in files.to_batches(columns=["value"], batch_size=BATCH):
            values = batch.column("value").cast(pa.binary()).to_pylist()
            yield batch_of("parquet", 0, read, values), (read + len(values)) / whole
            read += len(values)
    except (pa.ArrowException, FileNotFoundError) as error:
        raise InvalidBaseline(f"{', '.join(map(str, paths))}: {' '.join(str(error).split())}") from error


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*.parquet") if not file.name.startswith((".", "_")))


def batch_of(topic: str, partition: int, offset: int, values: Sequence[bytes | None]) -> pa.RecordBatch:
    """As the fold takes them."""
    return pa.RecordBatch.from_pydict(
        {
            "topic": [topic] * len(values),
            "partition": pa.array([partition] * len(values), pa.int32()),
            "offset": pa.array(range(offset, offset + len(values)), pa.int64()),
            "value": pa.array(values, pa.binary()),
        }
    )
