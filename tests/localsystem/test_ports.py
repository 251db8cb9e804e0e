"""Ports are free when they are said to be."""

from __future__ import annotations

import re
import socket

import pytest

from localsystem.errors import MachineProblem
from localsystem.ports import HOST, free_ports, is_free, require_free


def test_free_ports_differ_and_can_be_bound() -> None:
    ports = free_ports(20)

    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)


def test_a_port_that_something_listens_on_is_not_free() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]

        assert not is_free(port)
        with pytest.raises(MachineProblem, match=re.escape(f"port {port} is in use")):
            require_free(port, option="--broker-port")


def test_a_number_that_is_no_port_is_refused() -> None:
    with pytest.raises(MachineProblem, match="--broker-port 70000: a port is a number from 1 to 65535"):
        require_free(70_000, option="--broker-port")
