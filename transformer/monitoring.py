"""Scorer, recorder, ledger, publisher and metrics, wired from a monitor: what every way in needs."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from uuid import uuid4

from tidegauge.baseline import BaselineProfile
from tidegauge.monitor import ModelMonitor
from tidegauge.scoring.scorer import Scorer
from transformer.arguments import InvalidSettings
from transformer.capture import Clock, Ledger
from transformer.captured import rules
from transformer.enrich import Identity
from transformer.metrics import Metrics
from transformer.publisher import InvalidKafka, Publisher
from transformer.recorder import Recorder
from transformer.scoring import BatchScorer


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


def open_monitoring(monitor: ModelMonitor, profile: BaselineProfile, clock: Clock) -> Monitoring:
    """One incarnation, bound to the running event loop. Its first heartbeat is under way when this returns."""
    ledger = Ledger(clock.now_ms())
    topics = monitor.kafka.topics
    publisher = Publisher(
        monitor.kafka.bootstrap_servers,
        inference_topic=topics.inference.name,
        outliers_topic=topics.outliers.name,
        on_acknowledged=ledger.acknowledge,
        on_dropped=ledger.drop,
    )
    metrics = Metrics(ledger.account, lambda: publisher.waiting)
    recorder = Recorder(
        identity=_identity(monitor, profile),
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


def check_kafka(monitor: ModelMonitor) -> None:
    """Whether the client takes the configuration, before anything is served. Raises InvalidSettings."""
    kafka = monitor.kafka
    try:
        Publisher(
            kafka.bootstrap_servers,
            inference_topic=kafka.topics.inference.name,
            outliers_topic=kafka.topics.outliers.name,
            on_acknowledged=lambda: None,
            on_dropped=lambda reason: None,
        )
    except InvalidKafka as error:
        raise InvalidSettings(f"spec.kafka.bootstrapServers {kafka.bootstrap_servers!r}: {error}") from error
