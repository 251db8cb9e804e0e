"""`tidegauge demo` refuses in one line what cannot work, and leaves no process however it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localsystem.ports import HOST
from tests.support.waiting import marked_environment, marked_processes, wait_until

START_WITHIN_S = 180.0


@contextmanager
def running_demo(output: Path, environment: dict[str, str], *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command with its output in OUTPUT/told; killed at the end if it still runs."""
    output.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cli.main", "demo", "--seconds", "50", "--output", str(output), *options]
    with (output / "told").open("wb") as told:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=told, stderr=told)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def told(output: Path) -> str:
    return (output / "told").read_text()


def wait_for_demo(demo: subprocess.Popen[bytes], output: Path, condition: Callable[[], bool], *, what: str) -> None:
    """Fails with what the demo has said, at once when it has ended."""
    deadline = time.monotonic() + START_WITHIN_S
    while not condition():
        assert demo.poll() is None, f"ended with {demo.returncode} before {what}:\n{told(output)}"
        assert time.monotonic() < deadline, f"not within {START_WITHIN_S:.0f} s: {what}:\n{told(output)}"
        time.sleep(0.05)


def refused(output: Path, environment: dict[str, str], *options: str) -> str:
    """What was said, after the exit code has been found to be 2 and nothing to be left."""
    with running_demo(output, environment, *options) as demo:
        assert demo.wait(60) == 2
    assert marked_processes(environment) == []
    return told(output)


def test_no_java_is_refused_in_one_line(tmp_path: Path) -> None:
    environment = marked_environment() | {"PATH": str(tmp_path)}
    environment.pop("JAVA_HOME", None)

    said = refused(tmp_path, environment)

    assert said.splitlines()[-1].startswith("tidegauge demo: no Java found: install a Java 17 or newer")


def test_a_port_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, marked_environment(), "--broker-port", str(port))

    assert said.splitlines() == [
        f"tidegauge demo: port {port} is in use or not allowed: stop what listens there, or give another --broker-port"
    ]


def test_jars_out_of_reach_are_refused_in_one_line(tmp_path: Path) -> None:
    environment = marked_environment()
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "DEFAULT_ARTIFACT_REPOSITORY": "http://127.0.0.1:1/"}

    said = refused(tmp_path, environment)

    assert re.search(r"^tidegauge demo: cannot fetch the jars of .* is this machine online\?$", said, re.MULTILINE)


def test_too_short_a_demo_is_refused_in_one_line(tmp_path: Path) -> None:
    said = refused(tmp_path, marked_environment(), "--seconds", "20")

    assert said.splitlines()[0].startswith("tidegauge demo: 20 seconds are too few: the demo needs at least 50")


def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    said = refused(tmp_path, marked_environment(), "--output", str(tmp_path / "file"))

    assert said.startswith(f"tidegauge demo: cannot write to {tmp_path}/file: ")


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_start_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    environment = marked_environment()
    with running_demo(tmp_path, environment) as demo:
        # The hardest moment: all else is up, and Spark's JVM comes up as a child of a child.
        jvm = "org.apache.spark.deploy.SparkSubmit"
        wait_for_demo(
            demo,
            tmp_path,
            lambda: any(jvm in command for command in marked_processes(environment)),
            what="Spark's JVM",
        )
        demo.send_signal(number)

        assert demo.wait(60) == 128 + number
        assert marked_processes(environment) == []
    assert f"Interrupted ({number.name})" in told(tmp_path)
    assert "Traceback" not in told(tmp_path)


@pytest.mark.e2e
def test_a_demo_that_is_killed_in_mid_traffic_leaves_no_process(tmp_path: Path) -> None:
    environment = marked_environment()
    with running_demo(tmp_path, environment) as demo:
        wait_for_demo(demo, tmp_path, lambda: "Replaying" in told(tmp_path), what="traffic")
        os.kill(demo.pid, signal.SIGKILL)

        wait_until(lambda: marked_processes(environment) == [], within_s=60, what="the end of all processes")
