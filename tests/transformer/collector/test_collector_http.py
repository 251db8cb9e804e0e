"""The running collector: what it takes, what it turns away, and that all of it is accounted for."""

from __future__ import annotations

import json
import random
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.schemas import validate
from tests.support.topics import record_of
from tests.support.waiting import wait_until
from tests.transformer.collector.agent_events import REQUEST, RESPONSE, agent_headers, structured
from tidegauge.baseline import BaselineProfile
from tidegauge.records import Heartbeat, InferenceRecord, decode
from transformer.arguments import InvalidSettings
from transformer.collector.settings import read_settings

ROW = b'{"instances": [[0.1, 0.2, 0.3]]}'
ANSWER = b'{"predictions": [4]}'


@pytest.fixture(scope="module")
def start_collector(
    shared_broker: str,
    start_program: Callable[..., Any],
    profile: BaselineProfile,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Any]]:
    """(topic, arguments) -> a running collector of the model "sums"."""
    running: list[Any] = []

    def start(topic: str, *arguments: str, **spec: Any) -> Any:
        directory = tmp_path_factory.mktemp("monitor")
        (directory / "baseline.json").write_bytes(profile.dump())
        document = {
            "apiVersion": "tidegauge.io/v1alpha1",
            "kind": "ModelMonitor",
            "metadata": {"name": "sums", "namespace": "tests"},
            "spec": {
                "model": {"name": "sums", "version": "7"},
                "baseline": {"file": "baseline.json"},
                "kafka": {
                    "bootstrapServers": shared_broker,
                    "topics": {"inference": {"name": topic}, "outliers": {"name": topic + ".outliers"}},
                },
            }
            | spec,
        }
        path = directory / "monitor.yaml"
        path.write_text(yaml.safe_dump(document))
        running.append(
            start_program("transformer.collector", "--monitor", str(path), *arguments, ready="collector serving")
        )
        return running[-1]

    yield start
    for program in running:  # while there is a broker to take their last records
        if program.process.poll() is None:
            program.stop()


@pytest.fixture(scope="module")
def collector(start_collector: Callable[..., Any]) -> Any:
    bounds = ("--hold_seconds", "0.3", "--join_timeout_seconds", "0.6", "--max_body_bytes", "200000")
    return start_collector("collected", *bounds)


def send(program: Any, identity: str, kind: str, body: bytes, **headers: Any) -> httpx.Response:
    return httpx.post(program.url, headers=agent_headers(identity, kind, **headers), content=body, timeout=20)


def metrics(program: Any) -> dict[str, float]:
    text = httpx.get(program.url + "/metrics", timeout=20).text
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("tidegauge_"))
    }


def events(program: Any, outcome: str) -> float:
    return metrics(program).get(f'tidegauge_events_total{{outcome="{outcome}"}}', 0)


def test_a_record_has_the_latency_that_the_events_times_say(collector: Any, shared_broker: str) -> None:
    arrived = datetime.now(UTC)
    send(collector, "timed", REQUEST, ROW, time=arrived)
    send(collector, "timed", RESPONSE, ANSWER, time=arrived + timedelta(milliseconds=40))
    record = record_of(shared_broker, "collected", "timed")
    assert record.latency_ms == record.upstream_ms == pytest.approx(40, abs=0.01)
    assert (record.status, record.predictions, record.version, record.issues) == (200, [4], "7", {})


def test_a_time_that_cannot_be_the_events_own_gives_way_to_the_arrival(collector: Any, shared_broker: str) -> None:
    now = datetime.now(UTC)
    for identity, time in (("old", now - timedelta(hours=1)), ("coming", now + timedelta(hours=1))):
        send(collector, identity, REQUEST, ROW, time=time)
        send(collector, identity, RESPONSE, ANSWER, time=time)
        record = record_of(shared_broker, "collected", identity)
        assert abs(record.time_ms - now.timestamp() * 1000) < 10_000
    assert metrics(collector)["tidegauge_event_times_replaced_total"] >= 2


def test_a_request_without_a_response_is_recorded_and_says_so(collector: Any, shared_broker: str) -> None:
    send(collector, "unanswered", REQUEST, ROW)
    record = record_of(shared_broker, "collected", "unanswered")
    assert (record.status, record.predictions, record.issues) == (0, None, {"response_not_seen": 1})
    assert record.rows == 1 and record.outlier == [False]
    assert send(collector, "unanswered", RESPONSE, ANSWER).status_code == 200
    assert events(collector, "late") >= 1
    assert metrics(collector)['tidegauge_requests_total{protocol="v1",status="unknown"}'] >= 1


def test_a_response_without_a_request_is_a_loss_that_is_counted(collector: Any) -> None:
    def lost() -> float:
        return metrics(collector).get('tidegauge_records_total{outcome="dropped",reason="request_not_seen"}', 0)

    before = lost()
    send(collector, "alone", RESPONSE, ANSWER)
    wait_until(lambda: lost() == before + 1, within_s=10, what="the response is given up")


def test_what_comes_twice_makes_one_record(collector: Any, shared_broker: str) -> None:
    before = events(collector, "duplicate")
    for body in (ROW, b'{"instances": [[9, 9, 9]]}'):
        send(collector, "twice", REQUEST, body)
        send(collector, "twice", RESPONSE, ANSWER)
    assert record_of(shared_broker, "collected", "twice").features == [[0.1, 0.2, 0.3]]
    assert events(collector, "duplicate") == before + 2


def test_compressed_bodies_are_recorded_as_the_transformer_does(collector: Any, shared_broker: str) -> None:
    send(collector, "packed", REQUEST, b"\x1f\x8b rest")
    send(collector, "packed", RESPONSE, b"\x1f\x8b rest")
    issues = record_of(shared_broker, "collected", "packed").issues
    assert issues == {"unsupported_encoding": 1, "answer_encoded": 1}


def test_outliers_go_to_their_topic_too(collector: Any, shared_broker: str) -> None:
    send(collector, "odd", REQUEST, b'{"instances": [[90, 0, 0]]}')
    send(collector, "odd", RESPONSE, ANSWER)
    assert record_of(shared_broker, "collected.outliers", "odd").outlier == [True]


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({"Ce_Inferenceservicename": "products"}, "other_service"),
        ({"Ce_Namespace": "production"}, "other_namespace"),
        ({"Ce_Component": "transformer"}, "other_component"),
        ({"Ce_Type": "com.example.other"}, "other_type"),
    ],
)
def test_what_is_not_the_monitors_is_answered_200_and_counted(
    collector: Any, headers: dict[str, str], outcome: str
) -> None:
    before = events(collector, outcome)
    assert send(collector, outcome, REQUEST, ROW, **headers).status_code == 200
    assert events(collector, outcome) == before + 1


def test_a_request_without_a_body_is_no_predict_request(collector: Any) -> None:
    before = events(collector, "empty")
    assert send(collector, "metadata", REQUEST, b"").status_code == 200
    assert send(collector, "metadata", RESPONSE, b'{"name": "sums", "ready": true}').status_code == 200
    assert events(collector, "empty") == before + 2


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/json"}, ROW),
        ({"content-type": "application/cloudevents+json"}, b"{"),
        ({"content-type": "application/cloudevents-batch+json"}, b"{}"),
        ({"ce-specversion": "1.0", "ce-id": "1"}, ROW),
        ({}, b""),
    ],
    ids=["no event", "not JSON", "no batch", "attributes missing", "nothing"],
)
def test_what_is_no_event_is_400_and_counted(collector: Any, headers: dict[str, str], body: bytes) -> None:
    before = events(collector, "malformed")
    response = httpx.post(collector.url, headers=headers, content=body, timeout=20)
    assert response.status_code == 400 and "CloudEvent" in response.json()["error"]
    assert events(collector, "malformed") == before + 1


def test_a_batch_with_a_malformed_event_is_400_and_the_others_are_taken(collector: Any, shared_broker: str) -> None:
    batch = [
        structured("half", REQUEST, data=json.loads(ROW)),
        {"no": "event"},
        structured("half", RESPONSE, data=json.loads(ANSWER)),
    ]
    headers = {"content-type": "application/cloudevents-batch+json"}
    response = httpx.post(collector.url, headers=headers, content=json.dumps(batch).encode(), timeout=20)
    assert response.status_code == 400
    assert record_of(shared_broker, "collected", "half").predictions == [4]


def test_too_long_an_event_is_413_whether_announced_or_not_and_its_request_is_a_loss(collector: Any) -> None:
    long = b"x" * 200_001
    for identity, content in (("announced", long), ("chunked", iter([long[:1000], long[1000:]]))):
        headers = agent_headers(identity, REQUEST)
        response = httpx.post(collector.url, headers=headers, content=content, timeout=20)
        assert (response.status_code, response.json()) == (413, {"error": "the event is longer than 200000 bytes"})
    wait_until(
        lambda: metrics(collector).get('tidegauge_records_total{outcome="dropped",reason="event_too_large"}', 0) == 2,
        within_s=10,
        what="both are accounted for",
    )


def test_an_absurd_length_is_answered_at_once(collector: Any) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: c\r\ncontent-length: %d\r\n\r\n" % (1 << 39))
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


def test_health_and_unknown_paths(collector: Any) -> None:
    for path, expected in (("/", {"status": "alive"}), ("/v2/health/live", {"live": True})):
        assert httpx.get(collector.url + path, timeout=20).json() == expected
    assert httpx.get(collector.url + "/v2/health/ready", timeout=20).json() == {"ready": True}
    assert httpx.post(collector.url + "/elsewhere", content=ROW, timeout=20).status_code == 404
    assert httpx.put(collector.url, content=ROW, timeout=20).status_code == 405


def test_with_no_room_it_says_503_takes_what_makes_room_and_accounts_for_the_rest(
    start_collector: Callable[..., Any],
) -> None:
    program = start_collector(
        "full",
        *("--hold_seconds", "0.2", "--join_timeout_seconds", "120", "--max_pending", "2", "--log_level", "debug"),
    )
    assert [send(program, identity, REQUEST, ROW).status_code for identity in "ab"] == [200, 200]
    refused = send(program, "c", REQUEST, ROW)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert send(program, "a", RESPONSE, ANSWER).status_code == 200
    wait_until(lambda: metrics(program)["tidegauge_pending_requests"] < 2, within_s=10, what="there is room again")
    assert send(program, "d", REQUEST, ROW).status_code == 200
    assert program.stop() == 0
    log = "".join(program.output)
    assert "0.1, 0.2" not in log, "no values in logs"
    assert "served=4 acknowledged=3 dropped={'event_full': 1}" in log


def test_an_event_that_breaks_off_leaves_its_room_to_others(start_collector: Callable[..., Any]) -> None:
    program = start_collector("broken-off", "--max_body_bytes", "100000", "--max_pending_bytes", "200000")
    head = "".join(f"{name}: {value}\r\n" for name, value in agent_headers("half", REQUEST).items())
    begin = f"POST / HTTP/1.1\r\nhost: c\r\n{head}content-length: 90000\r\n\r\n".encode() + b"x" * 1000
    address = ("127.0.0.1", program.port)
    with socket.create_connection(address) as one, socket.create_connection(address) as other:
        for connection in (one, other):
            connection.sendall(begin)
        wait_until(
            lambda: send(program, "no room", REQUEST, b"x" * 50_000).status_code == 503,
            within_s=10,
            what="both are known to come",
        )
    wait_until(
        lambda: send(program, "room", REQUEST, b"x" * 50_000).status_code == 200, within_s=10, what="there is room"
    )


def test_a_stop_concludes_what_waits_and_the_account_is_whole(
    start_collector: Callable[..., Any], shared_broker: str
) -> None:
    program = start_collector("stopped", "--hold_seconds", "60", "--join_timeout_seconds", "120")
    arrived = [datetime.now(UTC) - timedelta(milliseconds=number % 3) for number in range(20)]
    for number in range(20):
        send(program, f"r{number}", REQUEST, ROW, time=arrived[number])
        if number % 2:
            send(program, f"r{number}", RESPONSE, ANSWER)
    send(program, "alone", RESPONSE, ANSWER)
    assert program.stop() == 0
    records, beats = all_messages(shared_broker, "stopped")
    final = beats[-1]
    assert final.final and final.account.balances() and final.seq == 21
    assert (final.account.acknowledged, final.account.dropped) == (20, {"request_not_seen": 1})
    assert sorted(record.seq for record in records) == list(range(1, 21))
    times = [record.time_ms for record in sorted(records, key=lambda record: record.seq)]
    assert times == sorted(times)
    for beat in beats:  # exactly what was served before it
        assert beat.seq == sum(record.time_ms < beat.time_ms for record in records) + (1 if beat.final else 0)
    of_number = {int(record.id[1:]): record for record in records}
    assert [of_number[number].status for number in range(20)] == [0, 200] * 10
    assert [of_number[number].time_ms for number in range(20)] == [int(t.timestamp() * 1000) for t in arrived]


def test_halves_from_many_senders_in_any_order_find_each_other(
    start_collector: Callable[..., Any], shared_broker: str
) -> None:
    program = start_collector("many", "--hold_seconds", "0.2", "--join_timeout_seconds", "120")
    halves = [
        (f"m{number}", kind, b'{"%s": [%s]}' % (key, b"[%d, 0, 0]" % number if kind == REQUEST else b"%d" % number))
        for number in range(150)
        for kind, key in ((REQUEST, b"instances"), (RESPONSE, b"predictions"))
    ]
    random.Random(4).shuffle(halves)
    with httpx.Client(timeout=20) as client, ThreadPoolExecutor(8) as senders:

        def emit(half: tuple[str, str, bytes]) -> int:
            identity, kind, body = half
            return client.post(program.url, headers=agent_headers(identity, kind), content=body).status_code

        assert set(senders.map(emit, halves)) == {200}
    assert program.stop() == 0
    records, beats = all_messages(shared_broker, "many")
    joined = {record.id: (record.features, record.predictions) for record in records}
    assert joined == {f"m{number}": ([[number, 0, 0]], [number]) for number in range(150)}
    assert sorted(record.seq for record in records) == list(range(1, 151))
    assert (beats[-1].account.served, beats[-1].account.acknowledged) == (150, 150)


def all_messages(broker: str, topic: str) -> tuple[list[InferenceRecord], list[Heartbeat]]:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "t", "log_level": 0})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    ends = sum(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions)
    raw: list[bytes] = []

    def all_read() -> bool:
        raw.extend(message.value() for message in consumer.consume(500, 0.2) if message.error() is None)
        return len(raw) >= ends

    wait_until(all_read, within_s=15, what="the topic is read")
    consumer.close()
    messages = [decode(data) for data in raw]
    for data in raw:
        document = json.loads(data)
        validate("heartbeat.v1" if document["kind"] == "heartbeat" else "inference-record.v1", document)
    beats = [message for message in messages if isinstance(message, Heartbeat)]
    return (
        [message for message in messages if isinstance(message, InferenceRecord)],
        sorted(beats, key=lambda beat: beat.time_ms),
    )


def test_with_a_request_only_logger_nothing_is_waited_for(
    start_collector: Callable[..., Any], shared_broker: str
) -> None:
    long = ("--hold_seconds", "0.2", "--join_timeout_seconds", "120")
    program = start_collector("requests", "--mode", "request", *long)
    send(program, "only", REQUEST, ROW)
    assert send(program, "only", RESPONSE, ANSWER).status_code == 200
    record = record_of(shared_broker, "requests", "only")
    assert (record.status, record.issues, record.rows) == (0, {}, 1)
    assert events(program, "not_asked_for") == 1


def test_a_suspended_monitor_takes_events_and_does_nothing(start_collector: Callable[..., Any]) -> None:
    program = start_collector("suspended", suspend=True)
    assert send(program, "a", REQUEST, ROW).status_code == 200
    assert httpx.get(program.url + "/v2/health/ready", timeout=20).status_code == 200
    assert "tidegauge_served_total" not in metrics(program)
    assert program.stop() == 0


def test_events_come_over_tls_where_a_certificate_is_given(
    start_collector: Callable[..., Any], certificate: tuple[Path, Path], shared_broker: str
) -> None:
    files = ("--ssl_certfile", str(certificate[0]), "--ssl_keyfile", str(certificate[1]))
    program = start_collector("over-tls", "--hold_seconds", "0.2", *files)
    with httpx.Client(verify=ssl.create_default_context(cafile=certificate[0]), timeout=20) as client:
        for kind, body in ((REQUEST, ROW), (RESPONSE, ANSWER)):
            url = f"https://127.0.0.1:{program.port}/"
            assert client.post(url, headers=agent_headers("tls", kind), content=body).status_code == 200
    assert record_of(shared_broker, "over-tls", "tls").predictions == [4]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of 127.0.0.1, signed by itself, and its key."""
    directory = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "collector")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "tls.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (directory / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return directory / "tls.crt", directory / "tls.key"


def test_settings_have_defaults_from_the_monitor_and_refuse_what_cannot_work(
    write_monitor: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = str(write_monitor())
    settings = read_settings(["--monitor", monitor])
    assert (settings.join_timeout_s, settings.hold_s, settings.mode, settings.component) == (
        6.0,
        2.0,
        "all",
        "predictor",
    )
    with pytest.raises(InvalidSettings, match="--hold_seconds 9 is longer"):
        read_settings(["--monitor", monitor, "--hold_seconds", "9"])
    with pytest.raises(InvalidSettings, match="at least twice"):
        read_settings(["--monitor", monitor, "--max_pending_bytes", "1000"])
    with pytest.raises(InvalidSettings, match="--ssl_keyfile"):
        read_settings(["--monitor", monitor, "--ssl_certfile", monitor])
    with pytest.raises(InvalidSettings, match="not a certificate and its key"):
        read_settings(["--monitor", monitor, "--ssl_certfile", monitor, "--ssl_keyfile", monitor])
    with pytest.raises(SystemExit):
        read_settings(["--help"])
    said = capsys.readouterr().out
    for word in ("--monitor FILE", "logger: {mode: all", "Example:"):
        assert word in " ".join(said.split())
