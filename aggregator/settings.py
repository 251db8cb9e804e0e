"""Command line and monitor files turned into one checked value; nothing else reads either."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import yaml

from aggregator.brokers import Brokers, brokers_of
from aggregator.catalogue import Catalogue
from aggregator.errors import StartError
from aggregator.sinks.webhook import Endpoint, endpoints_of
from tidegauge.baseline import BaselineProfile
from tidegauge.errors import BaselineMismatch, InvalidBaseline, InvalidExtension, InvalidMonitor
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.own_checks import check_own
from tidegauge.statistics import check_bins

MAXIMUM_INTERVAL_MS: Final = 60_000
MAXIMUM_RECORDS: Final = 100_000_000
MAXIMUM_BYTES: Final = 1 << 50


@dataclass(frozen=True)
class Settings:
    catalogue: Catalogue
    brokers: Brokers
    """Of all monitors: one query reads one Kafka cluster."""
    checkpoint: Path
    """Offsets and open windows; one directory per set of input topics, kept over restarts."""
    store: str
    """SQLAlchemy URL."""
    master: str = "local[*]"
    """Where the Kafka connector's jars are; None lets Spark fetch them."""
    interval_ms: int = 1000
    """
    From the start of one micro-batch to that of the next, at least. Windows end on whole seconds, and micro-batches
    begin a moment later: with a shorter interval a core is busy, traffic or not, and hardly a verdict is earlier.
    """
    maximum_records: int = 200_000
    """
    Of one micro-batch: bounds its memory and how long a stop waits for it. 200,000 records of 600 B are 120 MB and some
    3 s of two cores; a backlog is worked off in as many micro-batches as it takes.
    """
    maximum_outbox_bytes: int = 1 << 30
    """Of what sinks have not taken yet; beyond it the stream waits."""
    metrics_port: int | None = None
    endpoints: tuple[Endpoint, ...] = ()
    """The monitors' webhooks, with the secrets that the environment has for them."""
    log_level: str = "info"
    """debug: also each micro-batch with its phases."""
    files: tuple[Path, ...] = ()
    """What was read for the catalogue, and directories that were looked into."""


def parse_settings(arguments: Sequence[str]) -> Settings:
    """Raises StartError."""
    options = _parser().parse_args(arguments)
    files = [file for path in options.monitor for file in _monitor_files(path)]
    loaded = [load_monitor(path) for path in files]
    monitors = [monitor for monitor, _ in loaded]
    names = [monitor.name for monitor in monitors]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise StartError(f"--monitor: {', '.join(repeated)} given more than once; metadata.name must differ")
    return Settings(
        catalogue=Catalogue(
            monitors={monitor.name: monitor for monitor in monitors},
            baselines={monitor.name: profile.content_id for monitor, profile in loaded},
            profiles={profile.content_id: profile.dump() for _, profile in loaded},
        ),
        brokers=_brokers(monitors),
        checkpoint=_directory(options.checkpoint),
        store=options.store or _shared("spec.aggregator.store", [m.aggregator.store for m in monitors], "--store"),
        master=options.master,
        interval_ms=_whole(options.interval_ms, "--interval-ms", 0, MAXIMUM_INTERVAL_MS),
        maximum_records=_whole(options.maximum_records, "--maximum-records", 1, MAXIMUM_RECORDS),
        maximum_outbox_bytes=_whole(options.maximum_outbox_bytes, "--maximum-outbox-bytes", 1 << 20, MAXIMUM_BYTES),
        metrics_port=options.metrics_port,
        endpoints=tuple(endpoint for monitor in monitors for endpoint in endpoints_of(monitor, os.environ)),
        log_level=options.log_level,
        files=(
            *options.monitor,
            *files,
            *(_baseline_file(file, m) for file, (m, _) in zip(files, loaded, strict=True)),
        ),
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise StartError(f"{message}; see --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m aggregator", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--monitor",
        type=Path,
        action="append",
        required=True,
        help="ModelMonitor file, or a directory of them (*.yaml); repeatable",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="directory that survives restarts")
    parser.add_argument("--store", help="SQLAlchemy URL; default: the monitors' spec.aggregator.store")
    parser.add_argument("--master", default="local[*]", help="Spark master; default: %(default)s")
    parser.add_argument(
        "--interval-ms",
        default=str(Settings.interval_ms),
        help="least time between micro-batches; default: %(default)s",
    )
    parser.add_argument(
        "--maximum-records",
        default=str(Settings.maximum_records),
        help="most records of one micro-batch; default: %(default)s",
    )
    parser.add_argument(
        "--maximum-outbox-bytes",
        default=str(Settings.maximum_outbox_bytes),
        help="most bytes on disk that wait for sinks, then the stream waits; default: %(default)s",
    )
    parser.add_argument("--metrics-port", type=int, help="serve /metrics for Prometheus on this port; default: nowhere")
    parser.add_argument("--log-level", choices=("info", "debug"), default=Settings.log_level)
    return parser


def _monitor_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.yaml"))
    if not files:
        raise StartError(f"--monitor {path}: no *.yaml in this directory")
    return files


def load_monitor(path: Path) -> tuple[ModelMonitor, BaselineProfile]:
    """With its baseline. Raises StartError."""
    try:
        monitor = parse_monitor(yaml.safe_load(_read(path, "monitor file").decode()))
    except UnicodeDecodeError:
        raise StartError(f"monitor file {path}: not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise StartError(f"monitor file {path}: not YAML: {' '.join(str(error).split())}") from error
    except InvalidMonitor as error:
        raise StartError(f"monitor file {path}: {error}") from error
    profile = _load_baseline(path, monitor)
    try:
        check_bins(monitor.statistics, profile.schema)
        check_own(monitor.drift, monitor.statistics)
    except (BaselineMismatch, InvalidExtension) as error:
        raise StartError(f"monitor file {path}: {error}") from error
    return monitor, profile


def _load_baseline(path: Path, monitor: ModelMonitor) -> BaselineProfile:
    reference = monitor.baseline
    file = _baseline_file(path, monitor)
    try:
        profile = BaselineProfile.load(_read(file, "baseline file"))
    except InvalidBaseline as error:
        raise StartError(f"baseline file {file}: {error}; make one with: tidegauge baseline fit") from error
    if reference.sha256 not in (None, profile.content_id):
        raise StartError(
            f"baseline file {file}: content id {profile.content_id}, spec.baseline.sha256 says {reference.sha256}"
        )
    return profile


def _baseline_file(path: Path, monitor: ModelMonitor) -> Path:
    if monitor.baseline.file is None:
        raise StartError(f"monitor file {path}: spec.baseline.file: this process reads a baseline from a file only")
    return path.parent / monitor.baseline.file


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{what} {path}: {error.strerror}") from error


def _whole(text: str, option: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise StartError(f"{option}: expected a whole number from {least} to {most}, got {text!r}")
    return int(text)


def _directory(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"--checkpoint {path}: {error.strerror}") from error
    return path.resolve()


def _brokers(monitors: Sequence[ModelMonitor]) -> Brokers:
    _shared("spec.kafka.bootstrapServers", [monitor.kafka.bootstrap_servers for monitor in monitors])
    if len({monitor.kafka.security for monitor in monitors}) > 1:
        raise StartError("spec.kafka.security differs between monitors: run one aggregator for each")
    return brokers_of(monitors[0].kafka, os.environ)


def _shared(field: str, values: Sequence[str], option: str | None = None) -> str:
    if len(set(values)) > 1:
        advice = f"give {option}" if option else "run one aggregator for each"
        raise StartError(f"{field} differs between monitors ({', '.join(sorted(set(values)))}): {advice}")
    return values[0]
