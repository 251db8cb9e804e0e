"""The parts of a local Tidegauge, each a program of its own on a loopback port: start one, wait for it, stop it."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from localsystem import topics
from localsystem.broker import Broker, start_broker
from localsystem.jars import BROKER_JARS, cache_directory, ensure_jars
from localsystem.java import find_java
from localsystem.ports import HOST, free_ports
from localsystem.processes import Process, Processes
from localsystem.spark_cluster import SparkCluster, start_spark_cluster
from tidegauge.kafka_spec import Topics

PREDICTOR_READY_WITHIN_S: Final = 90.0
TRANSFORMER_READY_WITHIN_S: Final = 60.0
AGGREGATOR_READY_WITHIN_S: Final = 180.0
"""A Spark session takes 8 s on an idle machine and a minute on a busy one."""

COMMAND_WITHIN_S: Final = 120.0

AGGREGATOR_READY_LINE: Final = "aggregator ready"


class Hold(Protocol):
    def __call__(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Part:
    """A started program that serves HTTP for a model."""

    process: Process
    port: int
    model: str
    ready_within_s: float

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def wait_until_ready(self) -> None:
        """Raises PartFailed."""
        self.process.wait_until(self._is_ready, within_s=self.ready_within_s, what="ready")

    def _is_ready(self) -> bool:
        return _answers_ok(self.port, f"/v2/models/{self.model}/ready")


class LocalSystem:
    """
    Everything in one directory: logs, the broker's data, checkpoints, the store. At exit all that was started is
    stopped, the last first.

    hold: see Processes.
    """

    def __init__(self, directory: Path, *, hold: Hold = nullcontext) -> None:
        self.directory = directory.resolve()
        self.processes = Processes(self.directory / "logs", hold)
        self._jars: list[Path] = []
        self._java = Path("java")

    def __enter__(self) -> LocalSystem:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "tmp").mkdir(exist_ok=True)
        self.processes.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.processes.stop_all()

    def prepare(self) -> None:
        """Finds Java and the jars, fetching what the cache does not have. Raises MachineProblem."""
        self._java = find_java()
        self._jars = ensure_jars([BROKER_JARS], java=self._java, processes=self.processes, cache=cache_directory())

    def start_broker(
        self,
        port: int | None = None,
        *,
        more_listeners: Mapping[str, int] | None = None,
        more_properties: Mapping[str, str] | None = None,
    ) -> Broker:
        own_port, controller_port = free_ports(2)
        return start_broker(
            self.processes,
            java=self._java,
            jars=self._jars[0],
            directory=self.directory / "broker",
            port=port or own_port,
            controller_port=controller_port,
            more_listeners=more_listeners,
            more_properties=more_properties,
        )

    def create_topics(self, broker: Broker, wanted: Topics) -> None:
        topics.create_topics(broker.bootstrap_servers, wanted)

    def start_predictor(self, model: str, port: int | None = None) -> Part:
        port = port or free_ports(1)[0]
        arguments = ["--model_name", model, "--http_port", str(port)]
        process = self._start_python("predictor", "localsystem.predictor", arguments)
        return Part(process, port, model, PREDICTOR_READY_WITHIN_S)

    def start_transformer(self, *, monitor_file: Path, model: str, predictor: Part, port: int | None = None) -> Part:
        port = port or free_ports(1)[0]
        arguments = ["--model_name", model, "--predictor_host", predictor.address, "--http_port", str(port)]
        arguments += ["--predictor_protocol", "v1", "--workers", "1", "--monitor", str(monitor_file)]
        process = self._start_python("transformer", "transformer", arguments)
        return Part(process, port, model, TRANSFORMER_READY_WITHIN_S)

    def start_spark_cluster(self, *, workers: int, cores: int = 1) -> SparkCluster:
        """cores: of each worker."""
        return start_spark_cluster(
            self.processes,
            directory=self.directory / "spark",
            environment=self._environment(os.environ),
            workers=workers,
            cores=cores,
        )

    def start_aggregator(self, *, monitor_file: Path, more: Sequence[str] = ()) -> Aggregator:
        """more: arguments beside those that name files."""
        arguments = ["--monitor", str(monitor_file), "--checkpoint", str(self.directory / "checkpoint")]
        arguments += ["--store", f"sqlite:///{self.directory / 'tidegauge.db'}", *more]
        # Stopping ends the running micro-batch first.
        return Aggregator(self._start_python("aggregator", "aggregator", arguments, stop_within_s=30.0))

    def run_command_line(self, name: str, arguments: list[str]) -> None:
        """Runs `tidegauge` to its end. Raises PartFailed."""
        process = self._start_python(name, "cli.main", arguments)
        code = process.wait_for_exit(within_s=COMMAND_WITHIN_S)
        self.processes.stop(process)
        if code != 0:
            raise process.failure(f"ended with exit code {code}")

    def _start_python(self, name: str, module: str, arguments: list[str], stop_within_s: float = 15.0) -> Process:
        return self.processes.start(
            name,
            [sys.executable, "-m", module, *arguments],
            cwd=self.directory,
            environment=self._environment(os.environ),
            stop_within_s=stop_within_s,
        )

    def _environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """What the parts need beyond the inherited environment."""
        sources = str(Path(__file__).resolve().parent.parent)
        temporary = self.directory / "tmp"
        return {
            # The parts run from this source tree, and so do the Python workers that Spark starts.
            "PYTHONPATH": os.pathsep.join(filter(None, [sources, inherited.get("PYTHONPATH", "")])),
            "PYTHONUNBUFFERED": "1",
            # A JVM that is killed leaves native libraries in its temporary directory, which then go with ours.
            "TMPDIR": str(temporary),
            "JDK_JAVA_OPTIONS": f'{inherited.get("JDK_JAVA_OPTIONS", "")} "-Djava.io.tmpdir={temporary}"'.strip(),
            "SPARK_LOCAL_IP": HOST,
        }


@dataclass(frozen=True)
class Aggregator:
    process: Process

    def wait_until_ready(self) -> None:
        """Raises PartFailed."""
        self.process.wait_until(
            lambda: self.process.logged(AGGREGATOR_READY_LINE), within_s=AGGREGATOR_READY_WITHIN_S, what="ready"
        )


def _answers_ok(port: int, path: str) -> bool:
    # http.client, because it takes no proxy from the environment.
    connection = http.client.HTTPConnection(HOST, port, timeout=2.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
