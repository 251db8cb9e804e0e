"""The same job on more than one machine's worth of processes: windows are the kernel's, each once."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyspark
import pytest

from localsystem.processes import session_members
from localsystem.spark_cluster import SparkCluster
from localsystem.system import LocalSystem
from tests.aggregator.doors import profile
from tests.aggregator.stage import END, TRAFFIC, WINDOWS, Stage, add_monitor, counted, expected
from tests.support.waiting import wait_until
from tidegauge.kafka_spec import Topics

WITHIN_S = 120.0


@pytest.fixture
def system(tmp_path: Path) -> Iterator[LocalSystem]:
    with LocalSystem(tmp_path) as system:
        system.prepare()
        yield system


@contextlib.contextmanager
def aggregator_on(master: str, system: LocalSystem) -> Iterator[tuple[Stage, Topics]]:
    """Ready, with one monitor."""
    broker = system.start_broker()
    monitors = system.directory / "monitors"
    monitors.mkdir()
    (monitors / "doors.json").write_bytes(profile().dump())
    broker.wait_until_ready()
    topics = add_monitor(monitors, "doors", broker, system).kafka.topics
    stage = Stage(system, broker, monitors, ["--master", master])
    try:
        stage.start()
        yield stage, topics
    finally:
        stage.stop()


@pytest.fixture
def _no_logs_in_pyspark() -> Iterator[None]:
    """Spark's cluster within one machine writes the logs of its executors there, whatever it is told."""
    work = Path(pyspark.__file__).parent / "work"
    before = set(work.glob("*"))
    yield
    for directory in set(work.glob("*")) - before:
        shutil.rmtree(directory)


@pytest.mark.usefixtures("_no_logs_in_pyspark")
def test_two_executors_of_a_cluster_within_one_machine(system: LocalSystem) -> None:
    with aggregator_on("local-cluster[2,1,1024]", system) as (stage, topics):
        stage.send(topics, [*TRAFFIC, END], "doors")
        wait_until(lambda: len(stage.starts("doors")) > len(WINDOWS), within_s=WITHIN_S, what="the last window")
        assert [counted(report) for report in stage.served("doors")] == expected()


def executors(cluster: SparkCluster) -> list[int]:
    processes = [pid for worker in cluster.workers for pid in session_members(worker.pid)]
    return [pid for pid in processes if "CoarseGrainedExecutorBackend" in " ".join(psutil.Process(pid).cmdline())]


def test_two_workers_of_a_master_of_which_one_loses_its_executor(system: LocalSystem) -> None:
    cluster = system.start_spark_cluster(workers=2)
    cluster.wait_until_ready()
    half = len(TRAFFIC) // 2
    with aggregator_on(cluster.url, system) as (stage, topics):
        stage.send(topics, TRAFFIC[:half], "doors")
        wait_until(lambda: len(stage.starts("doors")) >= 2, within_s=WITHIN_S, what="some windows")
        before = executors(cluster)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        stage.send(topics, [*TRAFFIC[half:], END], "doors")
        wait_until(lambda: len(stage.starts("doors")) > len(WINDOWS), within_s=WITHIN_S, what="the last window")
        assert [report["revision"] for report in stage.served("doors")] == [0] * len(WINDOWS)
        assert [counted(report) for report in stage.served("doors")] == expected()
