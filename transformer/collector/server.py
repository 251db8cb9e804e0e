"""The collector's HTTP side, on Tornado: events by POST /, health and metrics by GET."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from tornado.httputil import HTTPHeaders
from tornado.web import Application, RequestHandler, stream_request_body

from transformer.collector.collecting import Collector
from transformer.collector.events import Malformed, binary_half, read_events

RETRY_AFTER_S: Final = 1

DISCARDED_BYTES: Final = 64 << 20
"""
Of a refused event so much is read and thrown away before the answer: where a connection is closed with data unread, a
client may never see the answer. A longer one is answered at once.
"""

FULL: Final = "too many requests are waiting for their other half: send it again in a moment"


class Intake:
    """
    Events while they come in, and the collector, None for a suspended monitor. max_body_bytes: of one event or batch.
    """

    def __init__(self, collector: Collector | None, *, max_body_bytes: int) -> None:
        self.collector, self.max_body_bytes = collector, max_body_bytes
        self.uploads = 0
        self._bytes = 0

    def has_room(self, size: int, headers: dict[str, str]) -> bool:
        if self.collector is None:
            return True
        half = binary_half(headers)
        awaited = half is not None and not half[1] and self.collector.pairs.awaits_response(half[0])
        return awaited or self.collector.pairs.has_room(self._bytes + size)

    def hold(self, size: int) -> None:
        self._bytes += size

    def refuse(self, headers: dict[str, str], outcome: str) -> None:
        if self.collector is None:
            return
        half = binary_half(headers)
        if half is None:
            self.collector.outcomes[outcome] += 1
        else:
            self.collector.refuse(half[0], is_request=half[1], outcome=outcome)

    def receive(self, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """The answer's status and an error's text. Events of a batch that are in order are taken all the same."""
        if self.collector is None:
            return 200, ""
        status, text = 200, ""
        for event in read_events(headers, body):
            outcome = self.collector.receive(event)
            if isinstance(event, Malformed):
                status, text = 400, str(event)
            elif outcome == "full" and status == 200:
                status, text = 503, FULL
        return status, text


@stream_request_body
class EventsHandler(RequestHandler):
    def initialize(self, intake: Intake) -> None:
        self._intake = intake
        self._headers_of = _by_lower_name(self.request.headers)
        self._chunks: list[bytes] = []
        self._size = self._held = 0
        self._intake.uploads += 1
        self._ended = False
        self._refusal: tuple[int, str] | None = None

    def prepare(self) -> None:
        announced = self._headers_of.get("content-length", "0")
        if self.request.method == "POST" and announced.isdigit():
            self._admit(int(announced[:18]))

    def data_received(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._held and self._refusal is None:  # chunked, with no length announced
            self._admit(self._size)
        if self._refusal is None:
            self._chunks.append(chunk)
        elif self._size > DISCARDED_BYTES and not self._finished:
            self._answer(*self._refusal)

    def post(self) -> None:
        self._answer(*(self._refusal or self._intake.receive(self._headers_of, b"".join(self._chunks))))

    def get(self) -> None:
        self.finish({"status": "alive"})

    def on_finish(self) -> None:
        self._end()

    def on_connection_close(self) -> None:
        self._end()

    def write_error(self, status_code: int, **_: Any) -> None:
        self.finish({"error": self._reason})

    def _admit(self, size: int) -> None:
        if size > self._intake.max_body_bytes:
            self._refuse(413, self._too_long, "too_large")
            if size > DISCARDED_BYTES:
                self._answer(413, self._too_long)
        elif not self._intake.has_room(size - self._held, self._headers_of):
            self._refuse(503, FULL, "full")
        else:
            self._intake.hold(size - self._held)
            self._held = size

    def _refuse(self, status: int, text: str, outcome: str) -> None:
        self._intake.refuse(self._headers_of, outcome)
        self._refusal = (status, text)
        self._chunks.clear()

    @property
    def _too_long(self) -> str:
        return f"the event is longer than {self._intake.max_body_bytes} bytes"

    def _answer(self, status: int, text: str) -> None:
        self.set_status(status)
        if status == 503:
            self.set_header("retry-after", RETRY_AFTER_S)
        self.finish({"error": text} if text else None)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._intake.uploads -= 1
            self._intake.hold(-self._held)


class FixedHandler(RequestHandler):
    def initialize(self, answer: dict[str, object]) -> None:
        self._answer = answer

    def get(self) -> None:
        self.finish(self._answer)


class MetricsHandler(RequestHandler):
    def get(self) -> None:
        self.set_header("content-type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(REGISTRY))


class UnknownHandler(RequestHandler):
    def prepare(self) -> None:
        self.set_status(404)
        self.finish({"error": "events come by POST /"})


def application(intake: Intake) -> Application:
    return Application(
        [
            ("/", EventsHandler, {"intake": intake}),
            ("/v2/health/live", FixedHandler, {"answer": {"live": True}}),
            ("/v2/health/ready", FixedHandler, {"answer": {"ready": True}}),
            ("/metrics", MetricsHandler),
        ],
        default_handler_class=UnknownHandler,
        log_function=cast(Callable[[RequestHandler], None], lambda _: None),
    )


def _by_lower_name(headers: HTTPHeaders) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
