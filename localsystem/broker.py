"""A real single-node Kafka broker (KRaft), run from jars."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from localsystem import topics
from localsystem.errors import PartFailed
from localsystem.ports import HOST
from localsystem.processes import Process, Processes, last_telling_line

READY_WITHIN_S: Final = 60.0
"""3 s on an idle machine, 15 s seen on a busy one."""

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller_port}
listeners=CONTROLLER://{host}:{controller_port},{listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocols}
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
log.retention.ms=-1
"""
"""Nothing is deleted by age: replayed traffic has times of long ago, and Kafka keeps a week of them by default."""


@dataclass(frozen=True)
class Broker:
    process: Process
    bootstrap_servers: str
    run: Callable[[], Process]
    """Runs it, with what is on its disk."""

    def run_again(self) -> Broker:
        """After it has ended, however it did. Does not wait for it."""
        return replace(self, process=self.run())

    def wait_until_ready(self) -> None:
        """Raises PartFailed."""
        self.process.wait_until(
            lambda: topics.answers(self.bootstrap_servers), within_s=READY_WITHIN_S, what="accepting clients"
        )


def start_broker(
    processes: Processes,
    *,
    java: Path,
    jars: Path,
    directory: Path,
    port: int,
    controller_port: int,
    more_listeners: Mapping[str, int] | None = None,
    more_properties: Mapping[str, str] | None = None,
) -> Broker:
    """
    Starts a broker with nothing in it. Does not wait for it. more_listeners: ports by security protocol, beside the one
    without any. Raises PartFailed when its storage cannot be made.
    """
    directory.mkdir(parents=True)
    properties = directory / "server.properties"
    listeners = {"PLAINTEXT": port, **(more_listeners or {})}
    written = _PROPERTIES.format(
        host=HOST,
        controller_port=controller_port,
        data=directory / "data",
        protocols=",".join(f"{protocol}:{protocol}" for protocol in listeners),
        listeners=",".join(f"{protocol}://{HOST}:{of}" for protocol, of in listeners.items()),
    )
    properties.write_text(written + "".join(f"{name}={value}\n" for name, value in (more_properties or {}).items()))
    temporary = directory / "tmp"
    temporary.mkdir()
    options = ["-XX:+UseSerialGC", f"-Djava.io.tmpdir={temporary}", "-cp", f"{jars}/*"]
    _format_storage(processes, [java, "-Xmx128m", *options], properties, directory)

    def run() -> Process:
        jvm: list[str | Path] = [java, "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *options]
        return processes.start("broker", [*jvm, "kafka.Kafka", properties], cwd=directory)

    return Broker(run(), f"{HOST}:{port}", run)


def _format_storage(processes: Processes, java: list[str | Path], properties: Path, directory: Path) -> None:
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # "=": one id in 64 begins with a hyphen, which would read as another option.
    tool: list[str | Path] = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster_id}", "-c"]
    process = processes.start("broker-format", [*java, *tool, properties], cwd=directory)
    code = process.wait_for_exit(within_s=READY_WITHIN_S)
    processes.stop(process)
    if code != 0:
        raise PartFailed(
            "broker", "could not format its storage", last_line=last_telling_line(process.log), log=process.log
        )
