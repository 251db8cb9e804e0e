"""`python -m transformer`: reads the settings, wires the parts and serves."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import socket
import ssl
import sys
import warnings
from typing import Any, Final
from uuid import uuid4

import uvicorn
from prometheus_client import REGISTRY
from uvicorn.supervisors import Multiprocess

from tidegauge.scoring.scorer import Scorer
from transformer.app import App, Monitoring, Serving
from transformer.backlog import CLOSE_S
from transformer.capture import EventClock, Ledger
from transformer.enrich import Identity
from transformer.metrics import Metrics, register
from transformer.publisher import InvalidKafka, Publisher
from transformer.recorder import Recorder
from transformer.scoring import BatchScorer
from transformer.settings import GRACE_S, REQUESTS_GRACE_S, InvalidSettings, Settings, read_settings
from transformer.upstream import Upstream

BACKLOG: Final = 2048


def main() -> int:
    try:
        settings = read_settings(sys.argv[1:])
        _check_kafka(settings)
        listener = _listen(settings.http_port)
    except InvalidSettings as error:
        print(f"transformer: {error}", file=sys.stderr)
        return 2
    _configure_logging(settings)
    _serve(settings, listener)
    return 0


def create_app() -> App:
    """
    One worker's application. Workers are fresh processes with the parent's command line, so each makes everything anew.
    """
    settings = read_settings(sys.argv[1:])
    _configure_logging(settings)

    async def open_serving() -> Serving:
        serving = _open_serving(settings)
        if serving.monitoring is not None:
            register(serving.monitoring.metrics, REGISTRY)
        _leave_with_parent()
        _set_aside_what_stays()
        print(
            f"transformer serving model={settings.model_name} port={settings.http_port} "
            f"predictor={settings.predictor_authority} pid={os.getpid()}",
            flush=True,
        )
        return serving

    return App(
        model=settings.model_name,
        host=settings.predictor_authority,
        max_body_bytes=settings.max_body_bytes,
        sdk=_sdk_application(settings),
        open_serving=open_serving,
    )


def _sdk_application(settings: Settings) -> Any:
    # The SDK parses the command line when it is imported, and knows neither all of ours nor all of our values.
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        from transformer.model import sdk_application
    finally:
        sys.argv = arguments
    warnings.filterwarnings("ignore", module="fastapi")  # the SDK's own use of it, which nobody here can change
    return sdk_application(settings)


def _open_serving(settings: Settings) -> Serving:
    upstream = Upstream(
        settings.predictor_host,
        settings.predictor_port,
        timeout_s=settings.predictor_timeout_s,
        tls=ssl.create_default_context() if settings.predictor_tls else None,
    )
    monitoring = None if settings.monitor.suspend else _monitoring(settings)

    async def close() -> None:
        upstream.close()
        if monitoring is not None:
            monitoring.scorer.close()
            await monitoring.recorder.close(GRACE_S - REQUESTS_GRACE_S - CLOSE_S)

    return Serving(upstream, monitoring, close)


def _monitoring(settings: Settings) -> Monitoring:
    monitor, profile = settings.monitor, settings.profile
    clock = EventClock()
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
        identity=_identity(settings),
        schema=profile.schema,
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


def _identity(settings: Settings) -> Identity:
    monitor = settings.monitor
    return Identity(
        monitor=monitor.name,
        model=monitor.model.name,
        version=monitor.model.version,
        namespace=monitor.namespace,
        replica=os.environ.get("HOSTNAME") or socket.gethostname(),
        incarnation=uuid4().hex,
        baseline=settings.profile.content_id,
    )


def _check_kafka(settings: Settings) -> None:
    """Whether the client takes the configuration, before anything is served."""
    kafka = settings.monitor.kafka
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


def _listen(port: int) -> socket.socket:
    """Bound here, so that a port in use is known before anything starts; workers share it."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("0.0.0.0", port))  # noqa: S104 - a pod's port is for the cluster
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise InvalidSettings(f"--http_port {port}: {error.strerror}: choose a free port") from error
    listener.set_inheritable(True)
    return listener


def _serve(settings: Settings, listener: socket.socket) -> None:
    config = uvicorn.Config(
        "transformer.__main__:create_app",
        factory=True,
        loop=settings.event_loop,
        http="httptools",
        ws="none",
        lifespan="on",
        workers=settings.workers,
        log_config=None,
        access_log=False,
        # The predictor's own come through.
        date_header=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=round(REQUESTS_GRACE_S),
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    # uvicorn raises the signal that stopped it once more when all is done: a stop on request is a success.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    if settings.workers > 1:
        Multiprocess(config, [listener]).run()
    else:
        uvicorn.Server(config).run([listener])


def _leave_with_parent() -> None:
    """A worker whose supervisor was killed would serve on without anybody to stop it."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    loop, sentinel = asyncio.get_running_loop(), int(parent.sentinel)

    def leave() -> None:
        loop.remove_reader(sentinel)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(sentinel, leave)


def _set_aside_what_stays() -> None:
    """Searching the SDK's and all other start-up objects for garbage would stop all requests for 0.1 s each time."""
    gc.collect()
    gc.freeze()


def _configure_logging(settings: Settings) -> None:
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    for chatty in ("uvicorn", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
