"""
The command line and the monitor file turned into one frozen Settings.

Takes every argument of KServe's ModelServer, since its controller appends some and people's manifests carry others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import yaml

from tidegauge.baseline import BaselineProfile
from tidegauge.errors import TidegaugeError
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.scoring.detector import load_detectors
from tidegauge.scoring.scorer import Scorer

MAX_BODY_BYTES: Final = 256 << 20
"""A request is held in memory until its answer has come; 256 MiB is what images and batches need at the very most."""

GRACE_S: Final = 25.0
"""Kubernetes kills a pod 30 s after asking it to stop; the rest is for the interpreter's own end."""

REQUESTS_GRACE_S: Final = 15.0
"""The part of GRACE_S in which requests under way are answered; what is left is for the queue to Kafka."""


class InvalidSettings(Exception):
    """The text is one line that says what is wrong and what to do."""


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
    monitor = _monitor(Path(given.monitor))
    host, port = _predictor(given.predictor_host, tls=given.predictor_use_ssl)
    if given.predictor_protocol == "grpc-v2":
        raise InvalidSettings("--predictor_protocol grpc-v2: only REST is served yet; use v1 or v2")
    if given.model_name is not None and given.model_name != monitor.model.name:
        raise InvalidSettings(
            f"--model_name {given.model_name} is not the model of {given.monitor} (spec.model.name: "
            f"{monitor.model.name}): give both the name that clients and predictor use"
        )
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
        monitor=monitor,
        profile=_profile(Path(given.monitor), monitor),
    )


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def command_line() -> argparse.ArgumentParser:
    parser = _OneLineParser(
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
        type=_positive_int,
        default=MAX_BODY_BYTES,
        metavar="N",
        help="longer request bodies are answered 413 (default: %(default)s)",
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
    group.add_argument("--predictor_use_ssl", type=_boolean, default=False, metavar="BOOL", help="default: false")
    group.add_argument(
        "--predictor_request_timeout_seconds",
        type=_positive_float,
        default=600.0,
        metavar="S",
        help="for an answer to begin, and for each further piece of it; then 504 (default: 600)",
    )
    group.add_argument("--enable_predictor_health_check", action="store_true", help="ready only while the predictor is")


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--http_port", type=_port, default=8080, metavar="N", help="default: 8080")
    group.add_argument(
        "--workers", type=_positive_int, metavar="N", help="processes; default: the monitor's spec.transformer.workers"
    )
    group.add_argument("--event-loop", dest="event_loop", choices=("auto", "asyncio", "uvloop"), default="auto")
    group.add_argument(
        "--timeout-keep-alive",
        dest="timeout_keep_alive",
        type=_positive_int,
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


def _monitor(path: Path) -> ModelMonitor:
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InvalidSettings(f"--monitor {path}: {error.strerror}: give the path of a ModelMonitor file") from error
    except yaml.YAMLError as error:
        raise InvalidSettings(f"--monitor {path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return parse_monitor(document)
    except TidegaugeError as error:
        raise InvalidSettings(f"--monitor {path}: {error}") from error


def _profile(monitor_path: Path, monitor: ModelMonitor) -> BaselineProfile:
    """The baseline, proven to fit the monitor's detectors and rate."""
    if monitor.baseline.file is None:
        raise InvalidSettings(
            f"--monitor {monitor_path}: spec.baseline.file is needed here: mount the profile and name its path"
        )
    path = monitor_path.parent / monitor.baseline.file
    try:
        own = load_detectors(monitor.outliers.detectors)
    except TidegaugeError as error:
        raise InvalidSettings(f"--monitor {monitor_path}: spec.outliers.detectors: {error}") from error
    try:
        profile = BaselineProfile.load(path.read_bytes(), detectors=own)
        Scorer(profile, detectors=monitor.outliers.detectors, false_alarm_rate=monitor.outliers.false_alarm_rate)
    except OSError as error:
        raise InvalidSettings(
            f"baseline {path}: {error.strerror}: fit one with `tidegauge baseline fit DATA -o {path.name}`"
        ) from error
    except TidegaugeError as error:
        raise InvalidSettings(f"baseline {path}: {error}") from error
    if monitor.baseline.sha256 not in (None, profile.content_id):
        raise InvalidSettings(
            f"baseline {path}: its content id is {profile.content_id}, the monitor's spec.baseline.sha256 is "
            f"{monitor.baseline.sha256}: update one of them"
        )
    return profile


def _predictor(text: str, *, tls: bool) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:  # no port, or a bare [IPv6]
        host, port = text, "443" if tls else "80"
    host = host.removeprefix("[").removesuffix("]")
    if not host or "/" in text or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidSettings(f"--predictor_host {text}: expected HOST or HOST:PORT, without a scheme")
    return host, int(port)


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("true", "yes", "on", "1", "t", "y"):
        return True
    if lowered in ("false", "no", "off", "0", "f", "n"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")


def _positive_int(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 1, got {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"expected a port between 1 and 65535, got {text!r}")
    return int(text)


def _positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e7:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0, got {text!r}")
    return value
