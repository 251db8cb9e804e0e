"""The streaming job's verdicts inside a Spark job of the user's own: a DataFrame of records in, reports out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from aggregator.catalogue import Catalogue
from aggregator.evaluate import REPORT, Output
from aggregator.fold import DEAD, parts_of
from aggregator.job import folded_of, stepped
from aggregator.packed import TOGETHER, parcels_in
from aggregator.replay import outputs_of_history
from aggregator.settings import load_monitor
from tidegauge.baseline import BaselineProfile
from tidegauge.monitor import ModelMonitor

_REPORTS: Final = pa.schema([("key", pa.string()), ("report", pa.string())])
_REPORT_COLUMNS: Final = "key string, report string"


def monitor(records: DataFrame, spec: str | Path | ModelMonitor, profile: BaselineProfile | None = None) -> DataFrame:
    """
    records: a column `value` with messages of the inference topic, as Kafka's source has them; batch or streaming.
    spec: a monitor file, or a parsed monitor together with its profile. Gives `key` and `report`, a JSON document as
    docs/schemas/window-report.v1.json says, one row a report.

    Of a batch each window is reported once, with all of its records. Of a stream windows are reported as the aggregator
    does, corrected reports included; the query needs the RocksDB state store. Raises StartError when the monitor or its
    baseline cannot be used, ValueError when `value` is missing.
    """
    catalogue = _catalogue(spec, profile)
    source = _with_names(records)
    if records.isStreaming:
        outputs = stepped(folded_of(source, catalogue), catalogue)
        return outputs.where(outputs.kind == TOGETHER).mapInArrow(_unpacked, _REPORT_COLUMNS)
    folded = folded_of(source, catalogue)
    ordered = folded.where(folded.monitor != DEAD).repartition("monitor").sortWithinPartitions("monitor", "end_ms")
    return ordered.mapInArrow(partial(_reports, catalogue), _REPORT_COLUMNS)


def _catalogue(spec: str | Path | ModelMonitor, profile: BaselineProfile | None) -> Catalogue:
    if isinstance(spec, ModelMonitor):
        if profile is None:
            raise ValueError("a parsed monitor needs its profile: monitor(records, spec, profile)")
        known = spec
    else:
        known, profile = load_monitor(Path(spec))
    known = replace(known, windows=replace(known.windows, provisional_ms=0))
    return Catalogue({known.name: known}, {known.name: profile.content_id}, {profile.content_id: profile.dump()})


def _with_names(records: DataFrame) -> DataFrame:
    """Where the frame does not say from where a message is, all are of one partition."""
    if "value" not in records.columns:
        raise ValueError(f"records need a column `value` with the messages, got {', '.join(records.columns)}")
    for name, default in (("topic", F.lit("")), ("partition", F.lit(0)), ("offset", F.lit(0).cast("bigint"))):
        if name not in records.columns:
            records = records.withColumn(name, default)
    return records.withColumn("value", records.value.cast("binary"))


def _reports(catalogue: Catalogue, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    parts = (part for batch in batches for part in parts_of(batch.to_pandas()))
    for output in outputs_of_history(parts, catalogue):
        if output.kind == REPORT:
            yield _frame([output])


def _unpacked(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for parcel in parcels_in(batch):
            yield _frame(parcel.outputs())


def _frame(outputs: Iterable[Output]) -> pa.RecordBatch:
    rows = [{"key": output.key, "report": output.value.decode()} for output in outputs if output.kind == REPORT]
    return pa.RecordBatch.from_pylist(rows, schema=_REPORTS)
