"""Webhooks against a real HTTP server that answers what the test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from aggregator.courier import Refused, SinkFailed
from aggregator.errors import StartError
from aggregator.evaluate import ALERT, REPORT, Output
from aggregator.sinks import notices
from aggregator.sinks.webhook import Endpoint, WebhookSink, endpoints_of
from tests.support.examples import monitor_document
from tests.support.schemas import DATA
from tidegauge.monitor import parse_monitor
from tidegauge.webhooks_spec import Webhook

FIRING = json.loads((DATA / "alerts" / "alert-v1.json").read_text())
RESOLVED = FIRING | {"status": "resolved", "last_ms": 40_000}
NOW_MS = 1_700_000_000_000


class Receiver(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook/s3cret"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200:
            self.server.got.append((dict(self.headers.items()), body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def sink(receiver: Receiver, directory: Path, form: str = "json", **changes: Any) -> WebhookSink:
    webhook = Webhook("ops", form, receiver.url, **changes)
    return WebhookSink(Endpoint("doors", webhook, receiver.url, "t0ken"), directory / "told", lambda: NOW_MS)


def alerts(*documents: dict[str, Any]) -> list[Output]:
    return [Output(ALERT, "t", document["id"], orjson.dumps(document)) for document in documents]


def test_an_alert_is_posted_as_it_is_with_a_key_and_the_token(receiver: Receiver, tmp_path: Path) -> None:
    sink(receiver, tmp_path).write([Output(REPORT, "t", "k", b"{}"), *alerts(FIRING)])
    ((headers, body),) = receiver.got
    assert body == FIRING
    assert headers["authorization"] == "Bearer t0ken"
    assert headers["idempotency-key"] == "doors/1/ffffffffffff/drift/0/firing/20000"


def test_only_what_notifies_and_concerns_the_monitor_is_told(receiver: Receiver, tmp_path: Path) -> None:
    quiet = FIRING | {"notify": False, "last_ms": 30_000}
    sink(receiver, tmp_path).write(alerts(FIRING, quiet, FIRING | {"monitor": "gates"}))
    assert [body["last_ms"] for _, body in receiver.got] == [20_000]
    sink(receiver, tmp_path, updates=True).write(alerts(quiet))
    assert [body["last_ms"] for _, body in receiver.got] == [20_000, 30_000]


@pytest.mark.parametrize("status", [500, 503, 429, 404, 403])
def test_what_fails_half_way_goes_on_where_it_was_and_tells_nothing_twice(
    receiver: Receiver, tmp_path: Path, status: int
) -> None:
    receiver.answers = [200, status]
    with pytest.raises(SinkFailed, match=f"answered {status}"):
        sink(receiver, tmp_path).write(alerts(FIRING, RESOLVED))
    sink(receiver, tmp_path).write(alerts(FIRING, RESOLVED))  # as after a restart
    assert [body["status"] for _, body in receiver.got] == ["firing", "resolved"]


def test_an_alert_that_is_not_understood_is_refused_and_the_next_one_told(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [400]
    with pytest.raises(Refused) as refused:
        sink(receiver, tmp_path).write(alerts(FIRING, RESOLVED))
    assert [orjson.loads(one.value)["status"] for one in refused.value.outputs] == ["firing"]
    assert [body["status"] for _, body in receiver.got] == ["resolved"]


def test_nobody_there_is_told_without_the_address(tmp_path: Path, receiver: Receiver) -> None:
    webhook = Webhook("ops", "json", "http://127.0.0.1:1/s3cret")
    nobody = WebhookSink(Endpoint("doors", webhook, "http://127.0.0.1:1/s3cret"), tmp_path / "told", lambda: NOW_MS)
    with pytest.raises(SinkFailed) as failed:
        nobody.write(alerts(FIRING))
    assert str(failed.value) == "ConnectError"
    assert "s3cret" not in repr(Endpoint("doors", webhook, "http://127.0.0.1:1/s3cret"))


def test_slack_gets_a_message(receiver: Receiver, tmp_path: Path) -> None:
    sink(receiver, tmp_path, "slack").write(alerts(FIRING | {"complete": False}))
    ((_, body),) = receiver.got
    assert body["text"].splitlines() == [
        ":warning: *doors (model version 1) has drifted: a, b*",
        "• a moved",
        "• b moved",
        "• Not all of the traffic behind this was seen.",
        "since 1970-01-01T00:00:00.000Z, warning, `doors/1/ffffffffffff/drift/0`",
    ]


def test_what_slack_would_take_for_markup_is_escaped_and_long_lists_are_cut() -> None:
    features = [{"name": f"<{number}&>", "evidence": {}} for number in range(7)]
    text = notices.slack(FIRING | {"features": features, "status": "resolved"})["text"]
    assert "<" not in text
    assert "&lt;4&amp;&gt; and 2 more" in text
    assert text.startswith(":white_check_mark: *doors (model version 1) is back to its baseline")
    assert "no drift after all" in notices.headline(FIRING | {"corrected": True, "status": "resolved"})


def test_alertmanager_gets_an_alert_that_ends_when_it_is_resolved(receiver: Receiver, tmp_path: Path) -> None:
    writer = sink(receiver, tmp_path, "alertmanager")
    writer.write(alerts(FIRING))
    writer.write(alerts(RESOLVED))
    (firing,), (resolved,) = (body for _, body in receiver.got)
    assert firing["labels"] == resolved["labels"]
    assert firing["labels"]["alertname"] == "TidegaugeDrift"
    assert firing["annotations"]["description"] == "a moved\nb moved"
    assert firing["startsAt"] == "1970-01-01T00:00:00.000Z"
    assert (firing["endsAt"], resolved["endsAt"]) == ("2023-11-15T22:13:20.000Z", "2023-11-14T22:13:20.000Z")


def test_another_severity_ends_the_alert_with_the_former_one(receiver: Receiver, tmp_path: Path) -> None:
    writer = sink(receiver, tmp_path, "alertmanager")
    writer.write(alerts(FIRING))
    writer.write(alerts(FIRING | {"severity": "critical", "last_ms": 30_000, "notify": False}))
    told = [(alert["labels"]["severity"], alert["endsAt"][:10]) for alert in receiver.got[-1][1]]
    assert told == [("critical", "2023-11-15"), ("warning", "2023-11-14")]


def test_alertmanager_is_told_again_of_what_still_fires_after_a_restart_too(receiver: Receiver, tmp_path: Path) -> None:
    sink(receiver, tmp_path, "alertmanager").write(alerts(FIRING))
    again = sink(receiver, tmp_path, "alertmanager")
    again.idle()
    again.idle()
    assert len(receiver.got) == 2
    assert receiver.got[1][1] == receiver.got[0][1]
    again.write(alerts(RESOLVED))
    sink(receiver, tmp_path, "alertmanager").idle()
    assert len(receiver.got) == 3


def monitor(*webhooks: dict[str, Any]) -> Any:
    return parse_monitor(monitor_document(alerts={"webhooks": list(webhooks)}))


def test_secrets_come_from_the_environment() -> None:
    doors = monitor({"name": "chat", "format": "slack", "urlEnv": "CHAT", "tokenEnv": "TOKEN"})
    (endpoint,) = endpoints_of(doors, {"CHAT": "https://chat.example/s3cret", "TOKEN": "t0ken"})
    assert (endpoint.url, endpoint.token) == ("https://chat.example/s3cret", "t0ken")
    with pytest.raises(StartError, match="webhook chat: set the environment variable CHAT"):
        endpoints_of(doors, {"TOKEN": "t0ken"})
    with pytest.raises(StartError, match="CHAT must begin with http") as error:
        endpoints_of(doors, {"CHAT": "s3cret", "TOKEN": "t0ken"})
    assert "s3cret" not in str(error.value)
