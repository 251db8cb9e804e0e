"""Waiting for a condition with a deadline, and for processes to be gone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

_POLL_S = 0.05


def wait_until(condition: Callable[[], bool], *, within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(_POLL_S)


MARK = "TIDEGAUGE_TEST_MARK"


def marked_environment() -> dict[str, str]:
    """An environment that every process started with it hands on, so that all of them can be found."""
    return {**os.environ, MARK: uuid4().hex}


def marked_processes(environment: dict[str, str]) -> list[str]:
    """Command lines of the running processes that have inherited the mark, however they were started."""
    mark = f"{MARK}={environment[MARK]}".encode()
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it ended meanwhile
            continue
    return found
