"""The machine's Java: found, and new enough for Spark and Kafka."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from localsystem.errors import MachineProblem

OLDEST: Final = 17
_REMEDY: Final = f"install a Java {OLDEST} or newer (a JDK or JRE) and put it on PATH or set JAVA_HOME"


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """
    JAVA_HOME's java, else the one on PATH: the same choice that Spark makes.

    Raises MachineProblem when there is none, it does not run, or it is older than 17.
    """
    home = environment.get("JAVA_HOME")
    if home:
        java = Path(home) / "bin" / "java"
        if not os.access(java, os.X_OK):
            raise MachineProblem(f"JAVA_HOME is {home}, but there is no program {java}: correct or unset JAVA_HOME")
    else:
        found = shutil.which("java", path=environment.get("PATH"))
        if found is None:
            raise MachineProblem(f"no Java found: {_REMEDY}")
        java = Path(found)
    version = _version(java, environment)
    if version < OLDEST:
        raise MachineProblem(f"{java} is Java {version}, too old: {_REMEDY}")
    return java


def _version(java: Path, environment: Mapping[str, str]) -> int:
    try:
        told = subprocess.run(
            [java, "-version"], env=dict(environment), capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MachineProblem(f"{java} does not run ({error}): {_REMEDY}") from error
    match = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    if match is None:
        raise MachineProblem(f"{java} does not say its version: {_REMEDY}")
    return int(match[1])
