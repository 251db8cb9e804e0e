"""
Secrets planted wherever a request may have them, and everything that left the process searched for them: the topics,
the logs, the metrics, the disk.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.support.waiting import wait_until
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec

CITIES = ("Xanadu-4711", "Atlantis-0815", "Eldorado-2525")
SOCIAL = 987654321.125
INCOME = 71234.5678
TOKEN = "Bearer-hunter2-hunter2"
ROWS = 2000
WITHIN_S = 20.0


@pytest.fixture(scope="module")
def private() -> BaselineProfile:
    rng = np.random.default_rng(6)
    schema = FeatureSchema(
        (
            FeatureSpec("amount"),
            FeatureSpec("social"),
            FeatureSpec("income"),
            FeatureSpec("city", "categorical", CITIES),
        )
    )
    columns = [
        rng.normal(size=ROWS),
        rng.uniform(9e8, 1e9, ROWS),
        rng.normal(7e4, 9e3, ROWS),
        rng.integers(3, size=ROWS),
    ]
    return BaselineProfile.fit(np.column_stack(columns), schema)


def send(transformer: Any, body: bytes, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", transformer.port, timeout=WITHIN_S)
    try:
        connection.request("POST", "/v1/models/sums:predict", body, {"authorization": TOKEN, **headers})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def everything_in(broker: str, topic: str) -> list[bytes]:
    """Keys and values, from the topic's beginning to its present end."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "secrets", "log_level": 0})
    try:
        found: list[bytes] = []
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            at = TopicPartition(topic, partition, 0)
            _, end = consumer.get_watermark_offsets(at, timeout=10)
            consumer.assign([at])
            deadline, read = time.monotonic() + WITHIN_S, 0
            while read < end and time.monotonic() < deadline:
                message = consumer.poll(1.0)
                if message is not None and message.error() is None:
                    found += [message.key() or b"", message.value() or b""]
                    read = message.offset() + 1
        return found
    finally:
        consumer.close()


def acknowledged(transformer: Any) -> float:
    text = metrics(transformer)
    lines = [line for line in text.splitlines() if line.startswith('tidegauge_records_total{outcome="acknowledged"')]
    return float(lines[0].rsplit(" ", 1)[1])


def metrics(transformer: Any) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", transformer.port, timeout=WITHIN_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def row(**changes: Any) -> dict[str, Any]:
    return {"amount": 0.1, "social": SOCIAL, "income": INCOME, "city": CITIES[0]} | changes


BODIES = [
    json.dumps({"instances": [row()]}),
    json.dumps({"instances": [row(amount=1e6), row(city=CITIES[1])]}),  # an outlier
    json.dumps({"instances": [row(social=str(SOCIAL))]}),  # of a wrong type
    json.dumps({"instances": [row(city="Xanadu-4711-unseen")]}),
    json.dumps({"instances": [row(income=[INCOME])]}),
    json.dumps({"instances": [row(), {"secret": SOCIAL}]}),
    f'{{"instances": [[{SOCIAL}, "{CITIES[0]}"',  # broken off
]


def secrets() -> list[bytes]:
    return [*(city.encode() for city in CITIES), b"987654321", b"71234.5", TOKEN.encode()]


def left_the_process(transformer: Any, broker: str, topic: str) -> dict[str, bytes]:
    wait_until(lambda: acknowledged(transformer) == len(BODIES), within_s=WITHIN_S, what="all records delivered")
    return {
        "topic": b"\n".join(everything_in(broker, topic)),
        "outliers": b"\n".join(everything_in(broker, f"{topic}-outliers")),
        "log": "".join(transformer.output).encode(),
        "metrics": metrics(transformer).encode(),
    }


def test_redacted_features_and_credentials_never_leave(
    serve_monitor: Callable[..., Any],
    constant_predictor: Any,
    private: BaselineProfile,
    shared_broker: str,
    tmp_path: Path,
) -> None:
    constant_predictor.says = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b'{"predictions": [1]}'
    key = tmp_path / "key"
    key.write_text("a key of more than sixteen bytes")
    redact = {"social": "drop", "income": "bucket", "city": {"hash": {"file": str(key)}}}
    capture = {"redact": redact, "headers": ["x-tenant"], "labels": {"stage": "canary"}}
    transformer = serve_monitor(private, "redacted", capture=capture, more=("--log_level", "debug"))
    for body in BODIES:
        assert send(transformer, body.encode(), **{"x-tenant": "blue"}) == 200
    left = left_the_process(transformer, shared_broker, "redacted")
    for where, said in left.items():
        for secret in [*secrets(), key.read_bytes()]:
            assert secret not in said, (where, secret)
    records = [json.loads(line) for line in left["topic"].splitlines() if line.startswith(b"{")]
    first = next(record for record in records if record.get("seq") == 1 and record["kind"] == "inference")
    assert (first["headers"], first["labels"]) == ({"x-tenant": "blue"}, {"stage": "canary"})
    amount, social, income, city = first["features"][0]
    assert (amount, social) == (0.1, None)
    assert 0 < abs(income - INCOME) < 5000
    assert len(city) == 32
    assert b"canary" in left["outliers"]


def test_with_scores_alone_no_value_and_no_prediction_leaves(
    serve_monitor: Callable[..., Any], constant_predictor: Any, private: BaselineProfile, shared_broker: str
) -> None:
    answer = f'{{"predictions": ["{CITIES[2]}"]}}'.encode()
    constant_predictor.says = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
    transformer = serve_monitor(private, "scores", capture={"payload": "scores"}, more=("--log_level", "debug"))
    for body in BODIES:
        assert send(transformer, body.encode()) == 200
    left = left_the_process(transformer, shared_broker, "scores")
    for where, said in left.items():
        for secret in [*secrets(), b"0.1,"]:
            assert secret not in said or (secret == b"0.1," and where != "topic"), (where, secret)
    records = [json.loads(line) for line in left["topic"].splitlines() if line.startswith(b"{")]
    first = next(record for record in records if record.get("seq") == 1 and record["kind"] == "inference")
    assert first["features"] is None and first["predictions"] is None and first["top"] == []
    assert first["p_values"]["combined"][0] > 0


def test_nor_are_they_on_disk_while_kafka_is_away(
    serve_monitor: Callable[..., Any], constant_predictor: Any, private: BaselineProfile, tmp_path: Path
) -> None:
    constant_predictor.says = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b'{"predictions": [1]}'
    capture = {"redact": {"social": "drop", "income": "bucket", "city": "drop"}}
    transformer = serve_monitor(private, "spooled", capture=capture, spool=tmp_path)
    for body in BODIES:
        assert send(transformer, body.encode()) == 200
    assert transformer.stop() == 0
    on_disk = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert on_disk.count(b'"kind":"inference"') >= len(BODIES), "those with an outlier twice"
    for secret in secrets():
        assert secret not in on_disk, secret
