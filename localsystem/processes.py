"""
Child processes that are never left behind: each in a session of its own, with its output in a log file.

The session is the fence. Whatever a child starts stays in it, also what makes a process group of its own, as the daemon
of Spark's Python workers does; so `stop` finds all of it. If this process is killed with -9, the kernel kills the
children (leash.py).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from localsystem import leash
from localsystem.errors import PartFailed

_POLL_S: Final = 0.05
_GRACE_S: Final = 3.0
"""How long the rest of a session may take to end by itself once its leader has: Spark's JVM sees the closed pipe and
removes its temporary files."""
_LOG_TAIL_BYTES: Final = 64 * 1024

_NOISE: Final = re.compile(r"\s|at |\.\.\. \d+ more|Picked up |NOTE: |WARNING: |SLF4J|\^|~|$")
_TELLING: Final = re.compile(r"error|exception|fatal|cannot|can't|failed|in use|denied|refused|invalid", re.IGNORECASE)


class Process:
    """One running program. Made by `Processes.start`."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path, stop_within_s: float) -> None:
        self.name, self.log = name, log
        self._popen = popen
        self._stop_within_s = stop_within_s

    @property
    def pid(self) -> int:
        return self._popen.pid

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def wait_until(self, condition: Callable[[], bool], *, within_s: float, what: str) -> None:
        """Raises PartFailed when the program ends first or `within_s` pass."""
        deadline = time.monotonic() + within_s
        while not condition():
            if not self.is_running():
                raise self.failure(f"ended with exit code {self._popen.returncode} before it was {what}")
            if time.monotonic() > deadline:
                raise self.failure(f"was not {what} within {within_s:.0f} s")
            time.sleep(_POLL_S)

    def wait_for_exit(self, *, within_s: float) -> int:
        """The exit code. Raises PartFailed after `within_s`."""
        try:
            return self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not end within {within_s:.0f} s") from None

    def failure(self, what: str) -> PartFailed:
        return PartFailed(self.name, what, last_line=last_telling_line(self.log), log=self.log)

    def logged(self, text: str) -> bool:
        return self.log.exists() and text in self.log.read_text(errors="replace")

    def stop(self) -> None:
        """
        Asks the program to end and waits; then kills what is left of its session. Harmless when it has ended.

        Only the leader is asked: it may need what it started (the aggregator its JVM) to end in good order.
        """
        if self.is_running():
            self._popen.terminate()
            self._wait(self._stop_within_s)
        _wait_while(lambda: bool(session_members(self.pid)) and not self.is_running(), _GRACE_S)
        for pid in session_members(self.pid):
            _kill(pid)
        self._wait(None)
        # A kill is a request too: its target is there until the system has taken it apart.
        _wait_while(lambda: bool(session_members(self.pid)), _GRACE_S)

    def kill(self) -> None:
        """Ends all of it at once, as a crash of its machine would."""
        for pid in session_members(self.pid):
            _kill(pid)
        self._wait(None)

    def _wait(self, within_s: float | None) -> None:
        try:
            self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            return


class Processes:
    """
    Starts programs and, at exit, stops them in reverse order.

    hold: what keeps signals from coming between a start and its being noted (Interrupts.held).
    """

    def __init__(self, logs: Path, hold: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self.logs = logs
        self._hold = hold
        self._started: list[Process] = []

    def __enter__(self) -> Processes:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        stop_within_s: float = 10.0,
    ) -> Process:
        log = self.logs / f"{name}.log"
        leashed = [sys.executable, "-S", "-E", leash.__file__, str(os.getpid()), *map(str, command)]
        with self._hold(), log.open("ab") as output:
            popen = subprocess.Popen(
                leashed,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            process = Process(name, popen, log, stop_within_s)
            self._started.append(process)
        return process

    def stop(self, process: Process) -> None:
        with self._hold():
            process.stop()
            self._started.remove(process)

    def stop_all(self) -> None:
        with self._hold():
            while self._started:
                self._started.pop().stop()

    def first_ended(self) -> Process | None:
        """A program that has ended though nobody stopped it."""
        return next((process for process in self._started if not process.is_running()), None)


def last_telling_line(log: Path) -> str:
    """The last line of a log that says what went wrong, without stack frames; the last line of all if none does."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    spoken = [line.rstrip() for line in lines if not _NOISE.match(line)]
    telling = [line for line in spoken if _TELLING.search(line)]
    return (telling or spoken or [""])[-1][:300]


def session_members(session: int) -> list[int]:
    """Process ids of a session, without those that have ended and wait to be collected."""
    if sys.platform != "linux":
        return _group_members(session)
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        state, _parent, _group, its_session = stat.rpartition(")")[2].split()[:4]
        if int(its_session) == session and state not in "ZX":
            members.append(int(entry.name))
    return members


def _group_members(group: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=False)
    rows = (line.split() for line in listed.stdout.splitlines())
    return [int(pid) for pid, its_group, state in rows if int(its_group) == group and not state.startswith("Z")]


def _wait_while(condition: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while condition() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
