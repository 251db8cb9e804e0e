"""Whatever a child does and whatever happens to us, no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localsystem.errors import PartFailed
from localsystem.interrupts import Interrupted, Interrupts
from localsystem.processes import Processes, last_telling_line, session_members
from tests.support.waiting import marked_environment, marked_processes, wait_until

STUBBORN = """
import os, signal, subprocess, sys, time
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, __file__, "child"])
else:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("child is up", flush=True)
time.sleep(600)
"""
"""Starts a child that leaves the process group and ignores SIGTERM, as Spark's worker daemon does the one and a
busy JVM the other."""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "logs") as processes:
        yield processes


@pytest.fixture
def stubborn(tmp_path: Path) -> Path:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    return script


def test_stopping_ends_all_that_the_program_started(processes: Processes, stubborn: Path, tmp_path: Path) -> None:
    process = processes.start("stubborn", [sys.executable, stubborn], cwd=tmp_path)
    process.wait_until(lambda: process.logged("child is up"), within_s=30, what="up")
    assert len(session_members(process.pid)) == 2

    processes.stop(process)

    assert session_members(process.pid) == []


def test_a_program_that_ignores_the_request_to_end_is_killed(processes: Processes, tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    process = processes.start("deaf", [sys.executable, "-c", deaf], cwd=tmp_path, stop_within_s=0.2)
    process.wait_until(lambda: process.logged("up"), within_s=30, what="up")

    processes.stop(process)

    assert not process.is_running()


def test_a_program_that_ends_too_early_is_an_error_with_its_last_word_and_log(
    processes: Processes, tmp_path: Path
) -> None:
    process = processes.start("part", [sys.executable, "-c", "raise OSError('address in use')"], cwd=tmp_path)

    with pytest.raises(PartFailed) as raised:
        process.wait_until(lambda: False, within_s=30, what="ready")

    assert str(raised.value) == (
        f"part ended with exit code 1 before it was ready: OSError: address in use (log: {tmp_path}/logs/part.log)"
    )


def test_a_program_that_never_becomes_ready_is_an_error(processes: Processes, tmp_path: Path) -> None:
    process = processes.start("idle", ["sleep", "600"], cwd=tmp_path)

    with pytest.raises(PartFailed, match="idle was not ready within 0 s"):
        process.wait_until(lambda: False, within_s=0.2, what="ready")


def test_a_program_that_does_not_exist_is_an_error_in_one_line(processes: Processes, tmp_path: Path) -> None:
    process = processes.start("none", ["no-such-program"], cwd=tmp_path)

    with pytest.raises(PartFailed, match="cannot start no-such-program: No such file or directory"):
        process.wait_until(lambda: False, within_s=30, what="ready")


def test_children_die_with_a_parent_that_is_killed(stubborn: Path, tmp_path: Path) -> None:
    parent_source = f"""
import sys, time
from pathlib import Path
from localsystem.processes import Processes
with Processes(Path({str(tmp_path)!r}) / "logs") as processes:
    process = processes.start("child", [sys.executable, "-c", "import time; time.sleep(600)"], cwd=Path("/"))
    print("started", flush=True)
    time.sleep(600)
"""
    environment = marked_environment()
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_source], env={**environment, "PYTHONPATH": os.getcwd()}, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    with parent.stdout as output:
        assert output.readline() == b"started\n"

    parent.kill()
    parent.wait()

    wait_until(lambda: marked_processes(environment) == [], within_s=10, what="the child's end")


def test_a_signal_during_a_start_is_raised_when_the_child_is_noted(tmp_path: Path) -> None:
    with Interrupts() as interrupts, Processes(tmp_path / "logs", interrupts.held) as processes:
        with pytest.raises(Interrupted, match="SIGTERM"), interrupts.held():
            os.kill(os.getpid(), signal.SIGTERM)
            process = processes.start("child", ["sleep", "600"], cwd=tmp_path)
        assert process.is_running()

    assert session_members(process.pid) == []


@pytest.mark.parametrize(
    ("log", "telling"),
    [
        ("", ""),
        ("starting\nall is well\n\n", "all is well"),
        ("ERROR cannot bind\n\tat java.net.Bind(Bind.java:1)\nINFO stopped\n", "ERROR cannot bind"),
        ("X failed\nCaused by: BindException: Address already in use\n\t... 18 more\n", "Caused by: BindException: "),
        ("ValueError: bad\nNOTE: Picked up JDK_JAVA_OPTIONS: error\n", "ValueError: bad"),
    ],
    ids=["empty", "nothing wrong", "before the stack", "the cause", "without noise"],
)
def test_the_telling_line_is_the_one_that_says_what_went_wrong(tmp_path: Path, log: str, telling: str) -> None:
    path = tmp_path / "log"
    path.write_text(log)

    assert last_telling_line(path).startswith(telling)
    assert bool(last_telling_line(path)) == bool(telling)
