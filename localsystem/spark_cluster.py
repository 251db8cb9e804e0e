"""A real Spark standalone cluster on this machine: a master and its workers, from PySpark's own jars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localsystem.jars import pyspark_home
from localsystem.ports import HOST, free_ports
from localsystem.processes import Process, Processes

READY_WITHIN_S: Final = 60.0

_MASTER: Final = "org.apache.spark.deploy.master.Master"
_WORKER: Final = "org.apache.spark.deploy.worker.Worker"


@dataclass(frozen=True)
class SparkCluster:
    """url: as --master takes it. Executors belong to the session of the worker that started them, and end with it."""

    url: str
    master: Process
    workers: tuple[Process, ...]

    def wait_until_ready(self) -> None:
        """Raises PartFailed."""
        for worker in self.workers:
            worker.wait_until(
                lambda worker=worker: worker.logged("Successfully registered with master"),  # type: ignore[misc]
                within_s=READY_WITHIN_S,
                what="registered",
            )


def start_spark_cluster(
    processes: Processes, *, directory: Path, environment: Mapping[str, str], workers: int, cores: int = 1
) -> SparkCluster:
    """Workers of so many cores and 1 GB each. Does not wait for them. Raises MachineProblem without PySpark."""
    home = pyspark_home()
    directory.mkdir(parents=True, exist_ok=True)
    logged = directory / "log4j2.properties"
    logged.write_text("rootLogger.level = info\nrootLogger.appenderRef.stdout.ref = console\n" + _CONSOLE)
    options = {"SPARK_DAEMON_JAVA_OPTS": f"-Dlog4j2.configurationFile={logged.as_uri()}", "SPARK_HOME": str(home)}
    port, *pages = free_ports(2 + workers)

    def start(name: str, program: str, *arguments: str) -> Process:
        command: list[str | Path] = [home / "bin" / "spark-class", program, "--host", HOST, *arguments]
        return processes.start(name, command, cwd=directory, environment={**environment, **options})

    url = f"spark://{HOST}:{port}"
    master = start("spark-master", _MASTER, "--port", str(port), "--webui-port", str(pages[0]))
    sizes = ["--cores", str(cores), "--memory", "1g"]
    started = tuple(
        start(
            f"spark-worker-{number}",
            _WORKER,
            *(*sizes, "--work-dir", str(directory / f"worker-{number}"), "--webui-port", str(page), url),
        )
        for number, page in enumerate(pages[1:])
    )
    return SparkCluster(url, master, started)


_CONSOLE: Final = """\
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1}: %m%n
"""
