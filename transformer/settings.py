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


GRPC_MESSAGE_BYTES: Final = 8 << 20
"""As KServe's own default."""

CONNECTIONS: Final = 512
"""
To the predictor, of one worker. Beyond it more are no faster: the predictor would only queue the requests itself.
"""

WAITING: Final = 4096
"""Requests of one worker that may wait for a connection: 4 s of traffic at 1,000 requests/s."""


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
        help="what --predictor_host speaks. v1, v2: REST, requests of both are taken; it is also that of readiness "
        "checks. grpc-v2: gRPC alone, and REST requests are answered 501 (default: v1)",
    )
    group.add_argument(
        "--predictor_grpc_host",
        metavar="HOST[:PORT]",
        help="beside a predictor that speaks v1 or v2: where calls to --grpc_port are forwarded to; without it gRPC is "
        "served only with --predictor_protocol grpc-v2",
    )
    group.add_argument(
        "--predictor_connections",
        type=positive_int,
        default=CONNECTIONS,
        metavar="N",
        help="connections to the predictor, per worker; further requests wait, first come first served (default: "
        "%(default)s)",
    )
    group.add_argument(
        "--predictor_queue",
        type=positive_int,
        default=WAITING,
        metavar="N",
        help="requests that may wait for a connection, per worker; further ones are answered 503, waiting too long 504 "
        "(default: %(default)s)",
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
        "--grpc_port", type=port, default=8081, metavar="N", help="where there is a gRPC predictor (default: 8081)"
    )
    group.add_argument(
        "--enable_grpc", type=boolean, default=True, metavar="BOOL", help="false: not even then (default: true)"
    )
    group.add_argument(
        "--grpc_max_receive_message_length",
        type=positive_int,
        default=GRPC_MESSAGE_BYTES,
        metavar="N",
        help="longer gRPC requests are answered RESOURCE_EXHAUSTED (default: %(default)s)",
    )
    group.add_argument(
        "--grpc_max_send_message_length",
        type=positive_int,
        default=GRPC_MESSAGE_BYTES,
        metavar="N",
        help="and longer gRPC answers too (default: %(default)s)",
    )
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
