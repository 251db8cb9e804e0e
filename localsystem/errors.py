"""
What can go wrong with the local system. The text of each is one line that says what is wrong and what to do.

    LocalSystemError
    +-- MachineProblem   this machine lacks something: Java, disk, a port, the way to a jar
    +-- PartFailed       a program that was started ended, or never became ready
"""

from __future__ import annotations

from pathlib import Path


class LocalSystemError(Exception):
    """Caught where a command turns it into one line and exit code 2."""


class MachineProblem(LocalSystemError):
    pass


class PartFailed(LocalSystemError):
    def __init__(self, name: str, what: str, *, last_line: str, log: Path) -> None:
        said = f": {last_line}" if last_line else ""
        super().__init__(f"{name} {what}{said} (log: {log})")
        self.name, self.log = name, log
