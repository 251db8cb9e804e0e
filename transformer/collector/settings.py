"""The collector's command line and the monitor file turned into one frozen CollectorSettings."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidegauge.baseline import BaselineProfile
from tidegauge.monitor import ModelMonitor
from transformer.arguments import InvalidSettings, OneLineParser, port, positive_float, positive_int
from transformer.monitor_file import read_monitor, read_profile

HOLD_S: Final = 2.0
"""Agents send events milliseconds after the fact, and seconds when the collector was away or slow for a moment."""

MAX_BODY_BYTES: Final = 16 << 20
"""Four times what is scored of a request."""

MAX_PENDING: Final = 100_000
MAX_PENDING_BYTES: Final = 256 << 20
"""At 1,000 requests/s of 2 kB and 6 s until a missing response is given up, some 25 MB wait."""


@dataclass(frozen=True)
class CollectorSettings:
    http_port: int
    mode: str
    component: str
    endpoint: str | None
    hold_s: float
    join_timeout_s: float
    max_body_bytes: int
    max_pending: int
    max_pending_bytes: int
    log_level: str
    tls: ssl.SSLContext | None
    monitor: ModelMonitor
    profile: BaselineProfile


def read_settings(arguments: Sequence[str]) -> CollectorSettings:
    """
    Raises InvalidSettings; leaves with SystemExit for --help and for arguments that argparse refuses, which it reports
    in one line with exit code 2.
    """
    given = command_line().parse_args(arguments)
    monitor = read_monitor(Path(given.monitor))
    join_timeout_s = given.join_timeout_seconds or monitor.windows.watermark_ms / 1000
    if join_timeout_s < given.hold_seconds:
        raise InvalidSettings(
            f"--hold_seconds {given.hold_seconds:g} is longer than --join_timeout_seconds {join_timeout_s:g} (default: "
            "the monitor's windows.watermark): a request must be in its place before it is given up"
        )
    if given.max_pending_bytes < 2 * given.max_body_bytes:
        raise InvalidSettings(
            f"--max_pending_bytes {given.max_pending_bytes} has no room for a request and its response of "
            f"--max_body_bytes {given.max_body_bytes}: give it at least twice as many"
        )
    return CollectorSettings(
        http_port=given.http_port,
        mode=given.mode,
        component=given.component,
        endpoint=given.endpoint,
        hold_s=given.hold_seconds,
        join_timeout_s=join_timeout_s,
        max_body_bytes=given.max_body_bytes,
        max_pending=given.max_pending,
        max_pending_bytes=given.max_pending_bytes,
        log_level=given.log_level,
        tls=_tls(given.ssl_certfile, given.ssl_keyfile),
        monitor=monitor,
        profile=read_profile(Path(given.monitor), monitor),
    )


def _tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    if (certificate is None) != (key is None):
        raise InvalidSettings("--ssl_certfile and --ssl_keyfile go together: give both, or none for plain HTTP")
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise InvalidSettings(
            f"--ssl_certfile {certificate} --ssl_keyfile {key}: not a certificate and its key: "
            f"{error.strerror or error}"
        ) from error
    return context


def command_line() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m transformer.collector",
        description="Takes the events of KServe's request logger (CloudEvents over HTTP: binary, structured or "
        "batched), joins requests and responses by id, scores every row against the monitor's baseline, and sends the "
        "same records to Kafka as the transformer: for predictors that cannot have a transformer in front of them.",
        epilog="Example: python -m transformer.collector --monitor shuttle.yaml --http_port 8080, and in the "
        "InferenceService: spec.predictor.logger: {mode: all, url: http://COLLECTOR:8080/}. See docs/collector.md.",
        allow_abbrev=False,
    )
    _add_events(parser)
    _add_bounds(parser)
    return parser


def _add_events(parser: OneLineParser) -> None:
    group = parser.add_argument_group("what is collected")
    group.add_argument("--monitor", required=True, metavar="FILE", help="ModelMonitor, YAML or JSON")
    group.add_argument("--http_port", type=port, default=8080, metavar="N", help="default: 8080")
    group.add_argument(
        "--mode",
        choices=("all", "request"),
        default="all",
        help="the logger's: with `request` no response is waited for, and records have no predictions (default: all)",
    )
    group.add_argument(
        "--component",
        choices=("predictor", "transformer", "explainer"),
        default="predictor",
        help="whose events are taken, since a logger on two of them tells every request twice (default: predictor)",
    )
    group.add_argument("--endpoint", metavar="NAME", help="take only events of this endpoint, as default or canary")
    group.add_argument("--ssl_certfile", metavar="FILE", help="serve HTTPS with this certificate")
    group.add_argument("--ssl_keyfile", metavar="FILE")
    group.add_argument("--log_level", choices=("debug", "info", "warning", "error"), default="info")


def _add_bounds(parser: OneLineParser) -> None:
    group = parser.add_argument_group("bounds")
    group.add_argument(
        "--join_timeout_seconds",
        type=positive_float,
        metavar="S",
        help="how long a request waits for its response, and a response for its request; default: the monitor's "
        "windows.watermark. Give a slow predictor more, and windows.watermark too",
    )
    group.add_argument(
        "--hold_seconds",
        type=positive_float,
        default=HOLD_S,
        metavar="S",
        help="how late an event may come and keep its own time; records and heartbeats are as much later "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--max_body_bytes",
        type=positive_int,
        default=MAX_BODY_BYTES,
        metavar="N",
        help="longer events are answered 413 (default: %(default)s)",
    )
    group.add_argument(
        "--max_pending",
        type=positive_int,
        default=MAX_PENDING,
        metavar="N",
        help="so many requests may wait for their other half; then 503 (default: %(default)s)",
    )
    group.add_argument(
        "--max_pending_bytes",
        type=positive_int,
        default=MAX_PENDING_BYTES,
        metavar="N",
        help="and so many bytes of them (default: %(default)s)",
    )
