"""The port that a program serves on."""

from __future__ import annotations

import socket
from typing import Final

from transformer.arguments import InvalidSettings

BACKLOG: Final = 2048


def listen(port: int) -> socket.socket:
    """Bound here, so that a port in use is known before anything starts; workers share it. Raises InvalidSettings."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("0.0.0.0", port))  # noqa: S104 - a pod's port is for the cluster
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise InvalidSettings(f"--http_port {port}: {error.strerror}: choose a free port") from error
    listener.set_inheritable(True)
    return listener
