"""The scripts say in one line, with exit code 2, what a machine lacks, before they install anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "awk", "cat", "cksum", "dirname", "env", "grep", "sed", "mkdir", "mktemp", "rm", "tail", "df")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A directory to be the whole PATH: a shell's tools, and neither Java nor Python."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (directory / tool).symlink_to(found)
    return directory


def install(machine: Path, name: str, script: str) -> None:
    (machine / name).write_text(f"#!/bin/sh\n{script}\n")
    (machine / name).chmod(0o755)


def install_java(machine: Path, version: str = "17.0.15") -> None:
    install(machine, "java", f"echo 'openjdk version \"{version}\" 2025-04-15' >&2")


def run(script: str, *arguments: str, machine: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / script, *arguments],
        env={"PATH": str(machine), "HOME": str(machine.parent), "VENV": str(machine.parent / "venv"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert all(word in lines[0] for word in words), lines


class TestJava:
    def test_none_is_refused(self, machine: Path) -> None:
        assert_refused(run("check-java", machine=machine), "no Java found", "install a Java 17 or newer")

    @pytest.mark.parametrize(("told", "version"), [("1.8.0_402", "8"), ("11.0.22", "11")], ids=["8", "11"])
    def test_an_old_one_is_refused(self, machine: Path, told: str, version: str) -> None:
        install_java(machine, told)

        assert_refused(run("check-java", machine=machine), f"is Java {version}, too old")

    def test_a_java_home_without_java_is_refused(self, machine: Path) -> None:
        install_java(machine)

        assert_refused(run("check-java", machine=machine, JAVA_HOME="/nowhere"), "JAVA_HOME is /nowhere")

    def test_one_that_does_not_run_is_refused(self, machine: Path) -> None:
        install(machine, "java", "exit 1")

        assert_refused(run("check-java", machine=machine), "does not run")

    def test_a_new_enough_one_passes(self, machine: Path) -> None:
        install_java(machine, "21")

        assert run("check-java", machine=machine).returncode == 0


class TestPython:
    def test_none_is_refused(self, machine: Path) -> None:
        assert_refused(run("find-python", machine=machine), "no Python 3.11 or 3.12 found")

    def test_one_out_of_range_is_refused(self, machine: Path) -> None:
        install(machine, "python3", "exit 1")  # as it answers the question for its version

        assert_refused(run("find-python", machine=machine), "no Python 3.11 or 3.12 found")

    def test_a_stand_in_that_does_not_run_is_passed_over(self, machine: Path, tmp_path: Path) -> None:
        (tmp_path / "stand-ins").mkdir()
        install(tmp_path / "stand-ins", "python3.12", "echo 'python3.12: command not found' >&2; exit 127")
        install(machine, "python3.11", f'exec "{sys.executable}" "$@"')

        found = run("find-python", machine=machine, PATH=f"{tmp_path}/stand-ins:{machine}")

        assert found.stdout.strip() == str(machine / "python3.11")

    def test_the_newest_is_preferred(self, machine: Path) -> None:
        for name in ("python3", "python3.11", "python3.12"):
            install(machine, name, f'exec "{sys.executable}" "$@"')

        assert run("find-python", machine=machine).stdout.strip() == str(machine / "python3.12")

    def test_one_without_ensurepip_is_refused_with_the_remedy(self, machine: Path) -> None:
        install(machine, "python3.11", f"""case "$*" in *ensurepip*) exit 1;; esac; exec "{sys.executable}" "$@" """)

        assert_refused(run("find-python", machine=machine), "python3.11 has no venv and ensurepip", "install them")


class TestSetup:
    def test_too_little_disk_is_refused_before_anything_is_made(self, machine: Path) -> None:
        install_java(machine)
        install(machine, "python3.11", f'exec "{sys.executable}" "$@"')
        (machine / "df").unlink()
        install(machine, "df", "echo 'Filesystem 1024-blocks Used Available'; echo 'disk 9999999 9999999 204800 99% /'")

        result = run("setup", "local", machine=machine)

        assert_refused(result, "200 MiB free", "needs 3072", "make room")
        assert not (machine.parent / "venv").exists()

    def test_a_directory_that_is_no_environment_is_not_replaced(self, machine: Path) -> None:
        install_java(machine)
        install(machine, "python3.11", f'exec "{sys.executable}" "$@"')
        (machine.parent / "venv").mkdir()
        (machine.parent / "venv" / "precious").touch()

        result = run("setup", "local", machine=machine)

        assert_refused(result, "venv is no virtual environment")
        assert (machine.parent / "venv" / "precious").exists()


@pytest.mark.parametrize("name", sorted(os.listdir(ROOT / "scripts")))
def test_every_script_can_be_executed(name: str) -> None:
    assert os.access(ROOT / "scripts" / name, os.X_OK)
