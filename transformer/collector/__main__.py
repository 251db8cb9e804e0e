"""`python -m transformer.collector`: reads the settings, wires the parts and serves."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import Final

import uvloop
from prometheus_client import REGISTRY
from tornado.httpserver import HTTPServer

from transformer.arguments import InvalidSettings
from transformer.backlog import CLOSE_S
from transformer.capture import EventClock
from transformer.collector.collecting import Collector, Horizon, Wanted
from transformer.collector.metrics import CollectorMetrics
from transformer.collector.pairs import Pairs
from transformer.collector.server import Intake, application
from transformer.collector.settings import CollectorSettings, read_settings
from transformer.listening import listen
from transformer.metrics import register
from transformer.monitoring import Monitoring, check_delivery, open_monitoring
from transformer.settings import GRACE_S

UPLOADS_S: Final = 5.0
"""For events that are coming in when the process is asked to stop; they take milliseconds."""

BODY_TIMEOUT_S: Final = 30.0
IDLE_S: Final = 65.0


def main() -> int:
    try:
        settings = read_settings(sys.argv[1:])
        check_delivery(settings.monitor)
        listener = listen(settings.http_port)
    except InvalidSettings as error:
        print(f"collector: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, listener))
    return 0


async def _serve(settings: CollectorSettings, listener: socket.socket) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    monitoring, collector = (None, None) if settings.monitor.suspend else _open(settings)
    intake = Intake(collector, max_body_bytes=settings.max_body_bytes)
    server = HTTPServer(
        application(intake),
        ssl_options=settings.tls,
        max_body_size=1 << 40,  # the handler refuses what is too long itself, with the status that says so
        body_timeout=BODY_TIMEOUT_S,
        idle_connection_timeout=IDLE_S,
    )
    listener.setblocking(False)
    server.add_socket(listener)
    monitor = settings.monitor
    print(
        f"collector serving model={monitor.model.name} port={settings.http_port} "
        f"inferenceservice={monitor.namespace}/{monitor.inference_service} pid={os.getpid()}",
        flush=True,
    )
    await stopped.wait()
    server.stop()
    await _let_in(intake)
    await server.close_all_connections()
    if monitoring is not None and collector is not None:
        collector.close()
        await monitoring.recorder.close(GRACE_S - UPLOADS_S - CLOSE_S)


def _open(settings: CollectorSettings) -> tuple[Monitoring, Collector]:
    monitor, clock = settings.monitor, EventClock()
    hold_ms = round(settings.hold_s * 1000)
    horizon = Horizon(clock.now_ms() - hold_ms)
    monitoring = open_monitoring(monitor, settings.profile, horizon)
    collector = Collector(
        monitoring,
        pairs=Pairs(
            wait_ms=round(settings.join_timeout_s * 1000),
            max_pairs=settings.max_pending,
            max_bytes=settings.max_pending_bytes,
            responses=settings.mode == "all",
        ),
        wanted=Wanted(monitor.inference_service, monitor.namespace, settings.component, settings.endpoint),
        clock=clock,
        horizon=horizon,
        hold_ms=hold_ms,
    )
    collector.start()
    register(monitoring.metrics, REGISTRY)
    REGISTRY.register(CollectorMetrics(collector))
    return monitoring, collector


async def _let_in(intake: Intake) -> None:
    deadline = asyncio.get_running_loop().time() + UPLOADS_S
    while intake.uploads and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
