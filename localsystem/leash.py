"""
Becomes another program that dies with its parent: `python leash.py PARENT_PID PROGRAM ARGUMENT...`.

Linux's "parent death signal" survives exec, so a parent that is killed with -9 and cannot clean up takes its children
with it. It is set here, in a process of its own, because running Python between fork and exec (`preexec_fn`) can
deadlock in a parent that has threads. Run as a file, without `site`, to cost a few milliseconds. On other systems than
Linux this only starts the program.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            sys.exit(1)
    try:
        os.execvp(program[0], program)  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot start {program[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
