"""Where a secret is: a monitor names an environment variable or a file, and never has the secret's own text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegauge.errors import InvalidMonitor

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class MissingSecret(Exception):
    """It is not where the monitor says. The message says where that is, and what to do."""


@dataclass(frozen=True)
class SecretRef:
    """Exactly one of the two."""

    env: str | None = None
    """Name of an environment variable."""
    file: str | None = None
    """Absolute path, as a secret is mounted."""

    @property
    def place(self) -> str:
        return f"the environment variable {self.env}" if self.env is not None else f"the file {self.file}"

    def read(self, environment: Mapping[str, str], read_file: Callable[[str], bytes]) -> bytes:
        """Without white space around it. read_file may raise OSError. Raises MissingSecret, also for an empty one."""
        if self.env is not None:
            secret = environment.get(self.env, "").encode()
        else:
            try:
                secret = read_file(str(self.file))
            except OSError as error:
                raise MissingSecret(f"{self.place}: {error.strerror}: mount the secret there") from error
        if not secret.strip():
            raise MissingSecret(f"{self.place} is empty: put the secret there")
        return secret.strip()

    def read_text(self, environment: Mapping[str, str], read_file: Callable[[str], bytes]) -> str:
        """As `read`, for what has to be UTF-8."""
        try:
            return self.read(environment, read_file).decode()
        except UnicodeDecodeError:
            raise MissingSecret(f"{self.place} is not UTF-8 text") from None


def parse_secret_ref(path: str, value: Any) -> SecretRef:
    """Of NAME or {file: PATH}. Raises InvalidMonitor."""
    if isinstance(value, str) and _VARIABLE.fullmatch(value):
        return SecretRef(env=value)
    if isinstance(value, Mapping) and list(value) == ["file"]:
        file = value["file"]
        if isinstance(file, str) and file.startswith("/"):
            return SecretRef(file=file)
    # The value is not repeated: where a secret was written instead of its name, it would end in a log.
    raise InvalidMonitor(path, "the NAME of an environment variable, or {file: an absolute PATH}", type(value).__name__)
