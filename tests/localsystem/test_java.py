"""Java is found as Spark finds it, and refused in one line when it will not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from localsystem.errors import MachineProblem
from localsystem.java import find_java


def make_java(directory: Path, told: str) -> Path:
    """A program called java that tells this version."""
    java = directory / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
    java.chmod(0o755)
    return java


@pytest.mark.parametrize(
    "told",
    ['openjdk version "17.0.15" 2025-04-15', 'java version "21" 2023-09-19', 'openjdk version "26-ea" 2026-03-17'],
    ids=["17", "21", "early access"],
)
def test_a_new_enough_java_on_path_is_taken(tmp_path: Path, told: str) -> None:
    java = make_java(tmp_path, told)

    assert find_java({"PATH": f"{java.parent}:/bin"}) == java


def test_java_home_comes_before_path(tmp_path: Path) -> None:
    make_java(tmp_path / "path", 'openjdk version "21.0.1"')
    home = make_java(tmp_path / "home", 'openjdk version "17.0.15"')

    assert find_java({"PATH": f"{tmp_path}/path/bin:/bin", "JAVA_HOME": f"{tmp_path}/home"}) == home


@pytest.mark.parametrize(
    ("told", "version"),
    [('java version "1.8.0_402"', "8"), ('openjdk version "11.0.22" 2024-01-16', "11")],
    ids=["8", "11"],
)
def test_an_old_java_is_refused(tmp_path: Path, told: str, version: str) -> None:
    java = make_java(tmp_path, told)

    with pytest.raises(MachineProblem, match=f"is Java {version}, too old: install a Java 17 or newer"):
        find_java({"PATH": f"{java.parent}:/bin"})


def test_no_java_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MachineProblem, match="no Java found: install a Java 17 or newer"):
        find_java({"PATH": str(tmp_path)})


def test_a_java_home_without_java_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineProblem, match=f"JAVA_HOME is {tmp_path}, but there is no program"):
        find_java({"PATH": "/usr/bin:/bin", "JAVA_HOME": str(tmp_path)})


def test_a_java_that_does_not_run_is_named(tmp_path: Path) -> None:
    java = make_java(tmp_path, "")
    java.write_text("#!/bin/sh\nexit 1\n")

    with pytest.raises(MachineProblem, match="does not run"):
        find_java({"PATH": f"{java.parent}:/bin"})
