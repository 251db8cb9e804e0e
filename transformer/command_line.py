"""
The arguments of `python -m transformer`: our own, and every argument of KServe's ModelServer, since its controller
appends some and people's manifests carry others.
"""

from __future__ import annotations

import argparse
from typing import Final

from transformer.arguments import OneLineParser, boolean, port, positive_float, positive_int

MAX_BODY_BYTES: Final = 256 << 20
"""A request is held in memory until its answer has come; 256 MiB is what images and batches need at the very most."""

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

BUFFERED_BYTES: Final = 512 << 20
"""Two bodies of the greatest length; a quarter of what KServe gives a container by default."""


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
        "--max_buffered_bytes",
        type=positive_int,
        default=BUFFERED_BYTES,
        metavar="N",
        help="request bodies above 64 KiB may hold so much memory together, per worker; further ones are not read "
        "until there is room, and answered 503 when that takes longer than --predictor_request_timeout_seconds "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--client_timeout_seconds",
        type=positive_float,
        default=60.0,
        metavar="S",
        help="a client that sends nothing more of a request body for so long is answered 408 (default: 60)",
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
