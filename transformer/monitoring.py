"""Scorer, recorder, ledger, publisher and metrics, wired from a monitor: what every way in needs."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tidegauge.baseline import BaselineProfile
from tidegauge.monitor import ModelMonitor
from tidegauge.scoring.scorer import Scorer
from tidegauge.secret_refs import MissingSecret
from tidegauge.transformer_spec import Spool as SpoolSpec
from transformer.arguments import InvalidSettings
from transformer.capture import Clock, Ledger
from transformer.captured import rules
from transformer.enrich import Identity
from transformer.metrics import Metrics
from transformer.publisher import InvalidKafka, Publisher
from transformer.recorder import Recorder
from transformer.scoring import BatchScorer
from transformer.spool import Spool
from transformer.spool_file import SpoolDamaged
from transformer.spooled import SpooledPublisher

_log = logging.getLogger("transformer.monitoring")


@dataclass(frozen=True)
class Monitoring:
    """What a predict or infer request meets besides the predictor."""

    recorder: Recorder
    scorer: BatchScorer
    metrics: Metrics
    baseline: bytes
    """First digits of the baseline's content id."""
    policy: str
    """One of tidegauge.monitor.POLICIES."""


def open_monitoring(monitor: ModelMonitor, profile: BaselineProfile, clock: Clock, *, workers: int = 1) -> Monitoring:
    """
    One incarnation, bound to the running event loop. Its first heartbeat is under way when this returns. workers: how
    many processes share the spool.
    """
    ledger, identity = Ledger(clock.now_ms()), _identity(monitor, profile)
    spool = _open_spool(monitor, identity.incarnation, ledger, workers)
    publisher = _open_publisher(monitor, ledger, spool)
    inherited = publisher.inherited if isinstance(publisher, SpooledPublisher) else None
    metrics = Metrics(ledger.account, lambda: publisher.waiting, spool=spool, inherited=inherited)
    recorder = Recorder(
        identity=identity,
        captured=rules(monitor.capture, profile),
        clock=clock,
        ledger=ledger,
        destination=publisher,
        metrics=metrics,
    )
    outliers = monitor.outliers
    scorer = BatchScorer(
        Scorer(profile, detectors=outliers.detectors, false_alarm_rate=outliers.false_alarm_rate),
        profile.schema,
        asyncio.get_running_loop().call_soon,
        budget_s=outliers.budget_ms / 1000,
    )
    recorder.start()
    return Monitoring(recorder, scorer, metrics, profile.content_id[:12].encode(), outliers.policy)


def _identity(monitor: ModelMonitor, profile: BaselineProfile) -> Identity:
    return Identity(
        monitor=monitor.name,
        model=monitor.model.name,
        version=monitor.model.version,
        namespace=monitor.namespace,
        replica=os.environ.get("HOSTNAME") or socket.gethostname(),
        incarnation=uuid4().hex,
        baseline=profile.content_id,
    )


def check_delivery(monitor: ModelMonitor) -> None:
    """Whether records could be delivered and kept, before anything is served. Raises InvalidSettings."""
    servers = monitor.kafka.bootstrap_servers
    try:
        Publisher(servers, **_told(monitor), on_acknowledged=lambda: None, on_dropped=lambda reason: None)
    except InvalidKafka as error:
        raise InvalidSettings(f"spec.kafka, with the brokers {servers!r}: {error}") from error
    if monitor.transformer.spool is not None:
        _check_directory(_spool_directory(monitor, monitor.transformer.spool))


def _open_publisher(monitor: ModelMonitor, ledger: Ledger, spool: Spool | None) -> Publisher:
    servers, told = monitor.kafka.bootstrap_servers, _told(monitor)
    if spool is not None:
        return SpooledPublisher(servers, **told, ledger=ledger, spool=spool)
    return Publisher(servers, **told, on_acknowledged=ledger.acknowledge, on_dropped=ledger.drop)


def _told(monitor: ModelMonitor) -> dict[str, Any]:
    """What any publisher of the monitor is told. Raises InvalidSettings for a password that is not there."""
    kafka = monitor.kafka
    try:
        options = kafka.security.client_options(os.environ, lambda path: Path(path).read_bytes())
    except MissingSecret as error:
        raise InvalidSettings(f"spec.kafka.security.sasl.password: {error}") from error
    topics = kafka.topics
    return {"inference_topic": topics.inference.name, "outliers_topic": topics.outliers.name, "options": options}


def _open_spool(monitor: ModelMonitor, incarnation: str, ledger: Ledger, workers: int) -> Spool | None:
    """None where the monitor has none, and where the disk fails now: then predictions are served all the same."""
    spec = monitor.transformer.spool
    if spec is None:
        return None
    try:
        return Spool(
            _spool_directory(monitor, spec),
            own=incarnation,
            maximum_bytes=spec.max_bytes // workers,
            ledger=ledger,
        )
    except (OSError, SpoolDamaged) as error:
        _log.error("no_spool why=%s (records that Kafka does not take are dropped and counted)", error)
        return None


def _spool_directory(monitor: ModelMonitor, spec: SpoolSpec) -> Path:
    return Path(spec.directory) / f"{monitor.namespace}.{monitor.name}"


def _check_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidSettings(f"spec.transformer.spool.directory: {directory}: {error.strerror}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InvalidSettings(f"spec.transformer.spool.directory: {directory}: not writable: mount a volume there")
