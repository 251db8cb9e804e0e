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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from prometheus_client import REGISTRY
from uvicorn.supervisors import Multiprocess

from transformer.app import App, Serving
from transformer.arguments import InvalidSettings
from transformer.backlog import CLOSE_S
from transformer.bodies import Bodies
from transformer.capture import EventClock
from transformer.connection import ClientConnection
from transformer.grpc_proxy import GrpcServer, serve_grpc
from transformer.listening import BACKLOG, listen, reserve
from transformer.metrics import register
from transformer.monitoring import Monitoring, check_delivery, open_monitoring
from transformer.room import Room
from transformer.settings import GRACE_S, REQUESTS_GRACE_S, Grpc, Settings, read_settings
from transformer.upstream import Upstream
from transformer.workers import DIRECTORY_VARIABLE, SharedNumbers, shared_directory
from transformer.wrapped import Wrapped

_GARBAGE_THRESHOLDS: Final = (20_000, 20, 50)


def main() -> int:
    try:
        settings = read_settings(sys.argv[1:])
        check_delivery(settings.monitor)
        _wrapped_model(settings)  # before anything is served
        listener = listen(settings.http_port)
        grpc_port = None if settings.grpc is None else reserve("--grpc_port", settings.grpc.port)
    except InvalidSettings as error:
        print(f"transformer: {error}", file=sys.stderr)
        return 2
    _configure_logging(settings)
    _serve(settings, listener)
    if grpc_port is not None:
        grpc_port.close()
    return 0


def create_app() -> App:
    """
    One worker's application. Workers are fresh processes with the parent's command line, so each makes everything anew.
    """
    settings = read_settings(sys.argv[1:])
    _configure_logging(settings)
    sdk, context = _sdk_application(settings)
    room = Room(settings.max_buffered_bytes, wait_s=settings.predictor_timeout_s)

    async def open_serving() -> Serving:
        serving = await _open_serving(settings, room, sdk, context)
        if serving.monitoring is not None:
            register(serving.monitoring.metrics, REGISTRY)
        _leave_with_parent()
        _set_aside_what_stays()
        print(
            f"transformer serving model={settings.model_name} port={settings.http_port} "
            f"grpc_port={'none' if settings.grpc is None else settings.grpc.port} "
            f"predictor={settings.predictor_authority} pid={os.getpid()}",
            flush=True,
        )
        return serving

    return App(
        model=settings.model_name,
        host=settings.predictor_authority,
        bodies=Bodies(room, max_body_bytes=settings.max_body_bytes, stall_s=settings.client_timeout_s),
        sdk=sdk,
        open_serving=open_serving,
    )


def _sdk_application(settings: Settings) -> tuple[Any, Context]:
    with _arguments_of_the_sdk(settings):
        from transformer.model import sdk_application

        warnings.filterwarnings("ignore", module="fastapi")  # the SDK's own use of it, which nobody here can change
        return sdk_application(settings)


def _wrapped_model(settings: Settings) -> Any:
    """The user's own transformer, the same in all calls of one process; None without one. Raises InvalidSettings."""
    if settings.wrap is None:
        return None
    with _arguments_of_the_sdk(settings):
        from transformer.model import wrapped_model

        return wrapped_model(settings.wrap, settings.model_name)


@contextmanager
def _arguments_of_the_sdk(settings: Settings) -> Iterator[None]:
    """
    The SDK parses the command line when it is imported, as do many transformers, and knows neither all of our arguments
    nor all of our values.
    """
    told = {
        "--model_name": settings.model_name,
        "--predictor_host": settings.predictor_authority,
        "--predictor_protocol": settings.predictor_protocol,
        "--http_port": str(settings.http_port),
    }
    arguments, sys.argv = sys.argv, [sys.argv[0], *(word for option in told.items() for word in option)]
    try:
        yield
    finally:
        sys.argv = arguments


async def _open_serving(settings: Settings, room: Room, sdk: Any, context: Context) -> Serving:
    upstream = _upstream(settings) if settings.predictor_rest else None
    monitoring, shared = _open_monitoring(settings)
    grpc_server = None if settings.grpc is None else await _serve_grpc(settings, settings.grpc, room, monitoring)
    model = _wrapped_model(settings)
    wrapped = None
    if model is not None:
        wrapped = Wrapped(sdk, context, score=settings.score, protocol=settings.predictor_protocol, stop=model.stop)

    async def close() -> None:
        if grpc_server is not None:
            await grpc_server.close(REQUESTS_GRACE_S)
        if upstream is not None:
            upstream.close()
            await asyncio.sleep(0)  # what waited for it is answered and recorded
        if wrapped is not None:
            wrapped.close()
        if monitoring is not None:
            monitoring.scorer.close()
            await monitoring.recorder.close(GRACE_S - REQUESTS_GRACE_S - CLOSE_S)
        if shared is not None:
            shared.close()

    return Serving(upstream, monitoring, close, wrapped)


def _open_monitoring(settings: Settings) -> tuple[Monitoring | None, SharedNumbers | None]:
    if settings.monitor.suspend:
        return None, None
    monitoring = open_monitoring(settings.monitor, settings.profile, EventClock(), workers=settings.workers)
    directory = os.environ.get(DIRECTORY_VARIABLE)
    if directory is None:
        return monitoring, None
    shared = monitoring.metrics.workers = SharedNumbers(Path(directory), monitoring.metrics.snapshot)
    shared.start()
    return monitoring, shared


def _upstream(settings: Settings) -> Upstream:
    return Upstream(
        settings.predictor_host,
        settings.predictor_port,
        timeout_s=settings.predictor_timeout_s,
        tls=ssl.create_default_context() if settings.predictor_tls else None,
        max_connections=settings.predictor_connections,
        max_waiting=settings.predictor_queue,
    )


async def _serve_grpc(settings: Settings, at: Grpc, room: Room, monitoring: Monitoring | None) -> GrpcServer:
    certificate, key = settings.tls_certificate, settings.tls_key
    server = await serve_grpc(
        port=at.port,
        predictor=at.predictor,
        model=settings.model_name,
        monitoring=monitoring,
        room=room,
        timeout_s=settings.predictor_timeout_s,
        max_request_bytes=at.max_request_bytes,
        max_answer_bytes=at.max_answer_bytes,
        max_calls=settings.predictor_connections + settings.predictor_queue,
        predictor_tls=settings.predictor_tls,
        certificate=(certificate, key) if certificate is not None and key is not None else None,
    )
    _when_asked_to_stop(lambda: server.drain(REQUESTS_GRACE_S))
    return server


def _when_asked_to_stop(begin: Callable[[], None]) -> None:
    """Beside uvicorn's own handlers, which are in place by now: it tells the application only when HTTP has ended."""
    loop = asyncio.get_running_loop()

    def chained(of: signal.Signals) -> None:
        before = signal.getsignal(of)

        def handle(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(begin)
            if callable(before):
                before(number, frame)

        signal.signal(of, handle)

    for of in (signal.SIGTERM, signal.SIGINT):
        chained(of)


def _serve(settings: Settings, listener: socket.socket) -> None:
    config = uvicorn.Config(
        "transformer.__main__:create_app",
        factory=True,
        loop=settings.event_loop,
        http=ClientConnection,
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
        with shared_directory() as shared:
            if shared is not None:
                os.environ[DIRECTORY_VARIABLE] = shared
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
    """
    Searching the SDK's and all other start-up objects for garbage would stop all requests for 0.1 s each time. What a
    request leaves behind has no cycles: it is gone at once, and there is no need to search after every few of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def _configure_logging(settings: Settings) -> None:
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    for chatty in ("uvicorn", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
