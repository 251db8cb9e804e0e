"""The ports that a program serves on."""

from __future__ import annotations

import socket
from typing import Final

from transformer.arguments import InvalidSettings

BACKLOG: Final = 2048


def listen(port: int) -> socket.socket:
    """Bound here, so that a port in use is known before anything starts; workers share it. Raises InvalidSettings."""
    listener = _bound("--http_port", port)
    listener.listen(BACKLOG)
    listener.set_inheritable(True)
    return listener


def reserve(name: str, port: int) -> socket.socket:
    """
    Keeps a port that several processes will listen on, each with SO_REUSEPORT: others of the same user could join them
    unnoticed, so it is asked for without that option first. Raises InvalidSettings.
    """
    _bound(name, port).close()
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("0.0.0.0", port))  # noqa: S104
    return reserved


def _bound(name: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("0.0.0.0", port))  # noqa: S104 - a pod's port is for the cluster
    except OSError as error:
        bound.close()
        raise InvalidSettings(f"{name} {port}: {error.strerror}: choose a free port") from error
    return bound
