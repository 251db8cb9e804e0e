"""The command line and the monitor file turned into one frozen Settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidegauge.baseline import BaselineProfile
from tidegauge.monitor import ModelMonitor
from transformer.arguments import InvalidSettings
from transformer.command_line import SCORES, command_line
from transformer.monitor_file import read_monitor, read_profile

GRACE_S: Final = 25.0
"""Kubernetes kills a pod 30 s after asking it to stop; the rest is for the interpreter's own end."""

REQUESTS_GRACE_S: Final = 15.0
"""The part of GRACE_S in which requests under way are answered; what is left is for the queue to Kafka."""


@dataclass(frozen=True)
class Grpc:
    """
    Where gRPC is served and forwarded to. predictor: HOST:PORT. max_request_bytes, max_answer_bytes: of one message.
    """

    port: int
    predictor: str
    max_request_bytes: int
    max_answer_bytes: int


@dataclass(frozen=True)
class Settings:
    """predictor_rest: the predictor at predictor_host speaks HTTP/1.1, v1 or v2. grpc: None where it is not served."""

    model_name: str
    predictor_host: str
    predictor_port: int
    predictor_tls: bool
    predictor_protocol: str
    predictor_timeout_s: float
    predictor_health_check: bool
    predictor_rest: bool
    predictor_connections: int
    predictor_queue: int
    http_port: int
    grpc: Grpc | None
    workers: int
    event_loop: str
    keep_alive_s: int
    tls_certificate: str | None
    tls_key: str | None
    max_body_bytes: int
    max_buffered_bytes: int
    client_timeout_s: float
    log_level: str
    wrap: str | None
    """A user's own transformer, module:Class or FILE.py:Class."""
    score: str
    """With wrap: one of SCORES."""
    monitor: ModelMonitor
    profile: BaselineProfile

    @property
    def predictor_authority(self) -> str:
        """For the Host header: as given, with the port only where it is not the scheme's own."""
        host = _bracketed(self.predictor_host)
        return host if self.predictor_port == (443 if self.predictor_tls else 80) else f"{host}:{self.predictor_port}"


def read_settings(arguments: Sequence[str]) -> Settings:
    """
    Raises InvalidSettings; leaves with SystemExit for --help and for arguments that argparse refuses, which it reports
    in one line with exit code 2.
    """
    given = command_line().parse_args(arguments)
    monitor = read_monitor(Path(given.monitor))
    host, port = _predictor(given.predictor_host, tls=given.predictor_use_ssl)
    if given.model_name is not None and given.model_name != monitor.model.name:
        raise InvalidSettings(
            f"--model_name {given.model_name} is not the model of {given.monitor} (spec.model.name: "
            f"{monitor.model.name}): give both the name that clients and predictor use"
        )
    if given.wrap is not None and given.predictor_protocol == "grpc-v2":
        raise InvalidSettings(
            "--wrap: a wrapped transformer calls its predictor by REST: --predictor_protocol v1 or v2"
        )
    if given.score is not None and given.wrap is None:
        raise InvalidSettings("--score: without --wrap there is nothing to choose from: what comes is what is scored")
    return Settings(
        model_name=monitor.model.name,
        predictor_host=host,
        predictor_port=port,
        predictor_tls=given.predictor_use_ssl,
        predictor_protocol=given.predictor_protocol,
        predictor_timeout_s=given.predictor_request_timeout_seconds,
        predictor_health_check=given.enable_predictor_health_check,
        predictor_rest=given.predictor_protocol != "grpc-v2",
        predictor_connections=given.predictor_connections,
        predictor_queue=given.predictor_queue,
        http_port=given.http_port,
        grpc=_grpc(given, f"{_bracketed(host)}:{port}"),
        workers=monitor.transformer.workers if given.workers is None else given.workers,
        event_loop=given.event_loop,
        keep_alive_s=given.timeout_keep_alive,
        tls_certificate=given.ssl_certfile,
        tls_key=given.ssl_keyfile,
        max_body_bytes=given.max_body_bytes,
        max_buffered_bytes=given.max_buffered_bytes,
        client_timeout_s=given.client_timeout_seconds,
        log_level=given.log_level,
        wrap=given.wrap,
        score=given.score or SCORES[0],
        monitor=monitor,
        profile=read_profile(Path(given.monitor), monitor),
    )


def _grpc(given: argparse.Namespace, predictor: str) -> Grpc | None:
    """predictor: --predictor_host with its port. Raises InvalidSettings."""
    if given.predictor_protocol == "grpc-v2":
        if given.predictor_grpc_host is not None:
            raise InvalidSettings(
                "--predictor_grpc_host with --predictor_protocol grpc-v2: --predictor_host is the gRPC address "
                "already; for a predictor with both, give its REST address there and --predictor_protocol v1 or v2"
            )
    elif given.predictor_grpc_host is None:
        return None
    else:
        host, port = _predictor(given.predictor_grpc_host, tls=given.predictor_use_ssl, name="--predictor_grpc_host")
        predictor = f"{_bracketed(host)}:{port}"
    if not given.enable_grpc:
        return None
    if given.wrap is not None:
        raise InvalidSettings("--wrap: gRPC calls would not run through it: leave them out with --enable_grpc false")
    return Grpc(
        port=given.grpc_port,
        predictor=predictor,
        max_request_bytes=given.grpc_max_receive_message_length,
        max_answer_bytes=given.grpc_max_send_message_length,
    )


def _predictor(text: str, *, tls: bool, name: str = "--predictor_host") -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:  # no port, or a bare [IPv6]
        host, port = text, "443" if tls else "80"
    host = host.removeprefix("[").removesuffix("]")
    if not host or "/" in text or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidSettings(f"{name} {text}: expected HOST or HOST:PORT, without a scheme")
    return host, int(port)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
