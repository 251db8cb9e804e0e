"""
The command line and the monitor file turned into one frozen Settings.

Takes every argument of KServe's ModelServer, since its controller appends some and people's manifests carry others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidegauge.baseline import BaselineProfile
from tidegauge.monitor import ModelMonitor
from transformer.arguments import InvalidSettings, OneLineParser, boolean, port, positive_float, positive_int
from transformer.monitor_file import read_monitor, read_profile

MAX_BODY_BYTES: Final = 256 << 20
"""A request is held in memory until its answer has come; 256 MiB is what images and batches need at the very most."""

GRACE_S: Final = 25.0
"""Kubernetes kills a pod 30 s after asking it to stop; the rest is for the interpreter's own end."""

REQUESTS_GRACE_S: Final = 15.0
"""The part of GRACE_S in which requests under way are answered; what is left is for the queue to Kafka."""

SCORES: Final = ("preprocessed", "input")
"""What is scored of a request to a wrapped transformer: what goes to the predictor, or what the client sent."""


@dataclass(frozen=True)
class Settings:
    model_name: str
    predictor_host: str
    predictor_port: int
    predictor_tls: bool
    predictor_protocol: str
    predictor_timeout_s: float
    predictor_health_check: bool
    http_port: int
    workers: int
    event_loop: str
    keep_alive_s: int
    tls_certificate: str | None
    tls_key: str | None
    max_body_bytes: int
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
        host = f"[{self.predictor_host}]" if ":" in self.predictor_host else self.predictor_host
        return host if self.predictor_port == (443 if self.predictor_tls else 80) else f"{host}:{self.predictor_port}"


def read_settings(arguments: Sequence[str]) -> Settings:
    """
    Raises InvalidSettings; leaves with SystemExit for --help and for arguments that argparse refuses, which it reports
    in one line with exit code 2.
    """
    given = command_line().parse_args(arguments)
    monitor = read_monitor(Path(given.monitor))
    host, port = _predictor(given.predictor_host, tls=given.predictor_use_ssl)
    if given.predictor_protocol == "grpc-v2":
        raise InvalidSettings("--predictor_protocol grpc-v2: only REST is served yet; use v1 or v2")
    if given.model_name is not None and given.model_name != monitor.model.name:
        raise InvalidSettings(
            f"--model_name {given.model_name} is not the model of {given.monitor} (spec.model.name: "
            f"{monitor.model.name}): give both the name that clients and predictor use"
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
        http_port=given.http_port,
        workers=monitor.transformer.workers if given.workers is None else given.workers,
        event_loop=given.event_loop,
        keep_alive_s=given.timeout_keep_alive,
        tls_certificate=given.ssl_certfile,
        tls_key=given.ssl_keyfile,
        max_body_bytes=given.max_body_bytes,
        log_level=given.log_level,
        wrap=given.wrap,
        score=given.score or SCORES[0],
        monitor=monitor,
        profile=read_profile(Path(given.monitor), monitor),
    )


def command_line() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m transformer",
        description="Stands in front of a KServe predictor: forwards predict and infer requests as they are, scores "
        "every row against the monitor's baseline while the predictor works, answers with x-outlier-* headers, and "
        "sends a record of each request to Kafka.",
        epilog="Example: python -m transformer --monitor shuttle.yaml --model_name shuttle "
        "--predictor_host 127.0.0.1:8081 --http_port 8080",
        allow_abbrev=False,
    )
    _add_own(parser.add_argument_group("what is monitored"))
    _add_predictor(parser.add_argument_group("predictor (KServe's arguments)"))
    _add_server(parser.add_argument_group("server (KServe's arguments)"))
    _add_without_effect(parser.add_argument_group("taken from KServe without an effect here"))
    return parser


def _add_own(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--monitor", required=True, metavar="FILE", help="ModelMonitor, YAML or JSON")
    group.add_argument("--model_name", metavar="NAME", help="name in the paths; default: the monitor's spec.model.name")
    group.add_argument(
        "--max_body_bytes",
        type=positive_int,
        default=MAX_BODY_BYTES,
        metavar="N",
        help="longer request bodies are answered 413 (default: %(default)s)",
    )
    group.add_argument(
        "--wrap",
        metavar="WHERE:CLASS",
        help="run your own kserve.Model transformer, module:Class or FILE.py:Class, before the predictor",
    )
    group.add_argument(
        "--score",
        choices=SCORES,
        help="with --wrap: what goes to the predictor, or what the client sent (default: preprocessed)",
    )
    group.add_argument("--log_level", choices=("debug", "info", "warning", "error"), default="info")


def _add_predictor(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--predictor_host", required=True, metavar="HOST[:PORT]", help="port 80 by default, 443 for TLS")
    group.add_argument(
        "--predictor_protocol",
        choices=("v1", "v2", "grpc-v2"),
        default="v1",
        help="spoken by readiness checks of the predictor; requests of v1 and v2 are both taken (default: v1)",
    )
    group.add_argument("--predictor_use_ssl", type=boolean, default=False, metavar="BOOL", help="default: false")
    group.add_argument(
        "--predictor_request_timeout_seconds",
        type=positive_float,
        default=600.0,
        metavar="S",
        help="for an answer to begin, and for each further piece of it; then 504 (default: 600)",
    )
    group.add_argument("--enable_predictor_health_check", action="store_true", help="ready only while the predictor is")


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--http_port", type=port, default=8080, metavar="N", help="default: 8080")
    group.add_argument(
        "--workers", type=positive_int, metavar="N", help="processes; default: the monitor's spec.transformer.workers"
    )
    group.add_argument("--event-loop", dest="event_loop", choices=("auto", "asyncio", "uvloop"), default="auto")
    group.add_argument(
        "--timeout-keep-alive",
        dest="timeout_keep_alive",
        type=positive_int,
        default=65,
        metavar="S",
        help="idle connections of clients are closed after this (default: 65)",
    )
    group.add_argument("--ssl_certfile", metavar="FILE", help="serve HTTPS with this certificate")
    group.add_argument("--ssl_keyfile", metavar="FILE")


def _add_without_effect(group: argparse._ArgumentGroup) -> None:
    without_value = {
        "--grpc_port": "gRPC is not served yet",
        "--enable_grpc": "gRPC is not served yet",
        "--grpc_max_send_message_length": None,
        "--grpc_max_receive_message_length": None,
        "--max_threads": "threads of the gRPC server",
        "--max_asyncio_workers": None,
        "--protocol": "replaced by --predictor_protocol",
        "--predictor_request_retries": "a request is sent again only when a pooled connection was closed unanswered",
        "--enable_docs_url": None,
        "--enable_latency_logging": "latencies are in /metrics and in the records",
        "--configure_logging": None,
        "--log_config_file": None,
        "--access_log_format": "there is no access log: the records are",
    }
    for name, why in without_value.items():
        group.add_argument(name, metavar="X", help=why)


def _predictor(text: str, *, tls: bool) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:  # no port, or a bare [IPv6]
        host, port = text, "443" if tls else "80"
    host = host.removeprefix("[").removesuffix("]")
    if not host or "/" in text or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidSettings(f"--predictor_host {text}: expected HOST or HOST:PORT, without a scheme")
    return host, int(port)
