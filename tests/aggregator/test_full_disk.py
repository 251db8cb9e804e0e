"""Outbox and Parquet files on a real disk that is full for a while: nothing is lost, and all is done once."""

from __future__ import annotations

import errno
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from pyspark.sql import SparkSession

from aggregator.courier import Courier
from aggregator.evaluate import REPORT, Output
from aggregator.outbox import Outbox
from aggregator.packed import packed
from aggregator.sinks.parquet import ParquetSink
from tests.aggregator.doors import START_MS
from tests.aggregator.sinks.test_sql import report
from tests.aggregator.test_job import END, OUTPUTS, TRAFFIC, WHOLE, Job
from tests.support.waiting import wait_until


class Disk:
    """One of 4 MB, in memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ballast = directory / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 16, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("there is no mount here to make a small disk with")
    directory = tmp_path / "disk"
    directory.mkdir()
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", directory], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here, only root may: {made.stderr.strip()}")
    try:
        yield Disk(directory)
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def test_the_stream_waits_for_room_in_its_outbox_and_goes_on(
    spark: SparkSession, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aggregator.job.ROOM_S", 0.1)
    job = Job(spark, tmp_path)
    job.outbox = Outbox(disk.directory / "outbox", OUTPUTS, maximum_bytes=1 << 30)
    job.topic.append([*TRAFFIC, END])
    disk.fill()

    def is_full_twice() -> bool:
        if caplog.text.count("outbox_unwritable No space left on device") < 2:
            return False
        disk.free()
        return len(job.rows()) == len(WHOLE)

    job.run(until=is_full_twice)
    assert job.rows() == WHOLE
    keys = [key for topic, key, _ in job.published.sent if topic == "tidegauge.statistics"]
    assert len(keys) == len(set(keys)) == len(WHOLE)
    assert list((disk.directory / "outbox").glob(".*")) == []


def test_reports_wait_for_room_and_are_then_files_once(tmp_path: Path, disk: Disk) -> None:
    outbox = Outbox(tmp_path / "outbox", [REPORT], maximum_bytes=1 << 30)
    courier = Courier(ParquetSink({"doors": disk.directory}), outbox)
    outbox.follow(["parquet"])
    disk.fill()
    courier.start()
    try:
        for start_ms in (0, 5_000):
            outbox.append(packed([Output(REPORT, "tidegauge.statistics", str(start_ms), report(start_ms))]))
        wait_until(lambda: courier.failures >= 2, within_s=30, what="some attempts")
        assert courier.waiting == 2
        assert not list(disk.directory.rglob("*.parquet"))
        disk.free()
        wait_until(lambda: courier.waiting == 0, within_s=60, what="the reports that waited")
    finally:
        courier.finish(deadline=time.monotonic() + 10)
    assert courier.refused == 0
    starts = ds.dataset(disk.directory / "reports").to_table().column("window_start_ms").to_pylist()
    assert sorted(starts) == [START_MS, START_MS + 5_000]
