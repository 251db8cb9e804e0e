"""The process as a user starts it, with something missing: one line that says what, and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.aggregator.doors import profile
from tests.support.examples import monitor_document


def run(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aggregator", "--checkpoint", str(directory / "checkpoint"), *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def monitor(tmp_path: Path) -> str:
    (tmp_path / "doors.json").write_bytes(profile().dump())
    document = monitor_document(aggregator={"store": f"sqlite:///{tmp_path}/reports.db"})
    (tmp_path / "doors.yaml").write_text(yaml.safe_dump(document))
    return str(tmp_path / "doors.yaml")


def refusal(ran: subprocess.CompletedProcess[str]) -> str:
    """The one line that is left once the log is taken away."""
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    (line,) = [line for line in ran.stderr.splitlines() if " INFO aggregator " not in line]
    return line


def test_a_missing_monitor_file(tmp_path: Path) -> None:
    assert refusal(run(tmp_path, "--monitor", "no.yaml")).startswith("aggregator: monitor file no.yaml: No such file")


def test_no_java(tmp_path: Path, monitor: str) -> None:
    line = refusal(run(tmp_path, "--monitor", monitor, PATH=str(tmp_path), JAVA_HOME=""))
    assert line.startswith("aggregator: no Java found: install a Java runtime, version 17 or newer")


def test_a_java_that_is_too_old(tmp_path: Path, monitor: str) -> None:
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    java.chmod(0o755)
    line = refusal(run(tmp_path, "--monitor", monitor, JAVA_HOME=str(tmp_path)))
    assert "java is version 8: install" in line
