"""Loopback ports that nothing listens on."""

from __future__ import annotations

import random
import socket
from typing import Final

from localsystem.errors import MachineProblem

HOST: Final = "127.0.0.1"

_BELOW_EPHEMERAL: Final = range(20_000, 32_000)
"""Linux gives outgoing connections ports from 32768 up. A server port taken from there can be lost to a connection
between the choice and the moment when the server, a JVM perhaps, gets round to binding it."""


def free_ports(count: int) -> list[int]:
    """`count` different ports. Raises MachineProblem when there are not so many."""
    chosen: list[int] = []
    for port in random.SystemRandom().sample(_BELOW_EPHEMERAL, len(_BELOW_EPHEMERAL)):
        if len(chosen) == count:
            return chosen
        if is_free(port):
            chosen.append(port)
    raise MachineProblem(f"fewer than {count} free ports between {_BELOW_EPHEMERAL[0]} and {_BELOW_EPHEMERAL[-1]}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: without it the port of a server that has just stopped would look taken for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(port: int, *, option: str) -> int:
    """The port itself. Raises MachineProblem."""
    if not 1 <= port <= 65535:
        raise MachineProblem(f"{option} {port}: a port is a number from 1 to 65535")
    if not is_free(port):
        raise MachineProblem(f"port {port} is in use or not allowed: stop what listens there, or give another {option}")
    return port
