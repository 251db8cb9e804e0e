"""
The same backlog with one worker and with two, of one core each, on a Spark master of its own.

Each in a process of its own, since PySpark keeps its first JVM for the life of a process:
python -m benchmarks.aggregator_workers MASTER BROKERS DIRECTORY
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from aggregator.session import spark_session
from benchmarks import figures
from benchmarks.aggregator_backlog import Field, fitted_profile, judged, monitor_of, rate
from localsystem.system import LocalSystem

WITHIN_S = 300


def workers_ratio(system: LocalSystem, servers: str) -> dict[str, float]:
    """The backlog is in the brokers already."""
    rates = {f"{count} of one core": _rate(system, servers, count) for count in (1, 2)}
    figures.show("Workers of a standalone master", rates, unit="records/s")
    one, two = rates.values()
    return {"workers_2_vs_1": two / one}


def _rate(system: LocalSystem, servers: str, count: int) -> float:
    cluster = system.start_spark_cluster(workers=count)
    directory = system.directory / f"workers-{count}"
    directory.mkdir()
    try:
        cluster.wait_until_ready()
        command = [sys.executable, "-m", "benchmarks.aggregator_workers", cluster.url, servers, str(directory)]
        told = subprocess.run(command, stdout=subprocess.PIPE, timeout=WITHIN_S, check=True, text=True).stdout
    finally:
        for process in (*cluster.workers, cluster.master):
            system.processes.stop(process)
    return float(told.split()[-1])


def main() -> int:
    master, servers, directory = sys.argv[1:]
    with spark_session(master=master) as spark:
        field = Field(spark, servers, Path(directory), fitted_profile())
        found = rate(judged(field, [monitor_of("single", 0, servers)], "judged"))
    sys.stdout.write(f"{found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
