"""`tidegauge drill`, judged on this machine: what was changed is found, what was not stays quiet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer
from typer.testing import CliRunner

from cli import shadow
from cli.drill_findings import Findings
from cli.main import app
from cli.shadow import Injected, Shadow, Traffic
from cli.shadow_topic import shadow_document
from localsystem.topics import create_topics
from tests.support.examples import make_record, mixed_profile, monitor_document
from tests.support.rooms import usual_records
from tidegauge.errors import InvalidBaseline
from tidegauge.kafka_spec import Topic, Topics
from tidegauge.monitor import parse_monitor
from tidegauge.records import Heartbeat, InferenceRecord, decode, encode_record

START_MS = 1_700_000_000_000
TOPIC = "drill.inference"


@pytest.fixture(scope="module")
def broker(servers: str) -> str:
    """With a minute and a half of usual traffic, 40 records a second."""
    create_topics(servers, Topics(inference=Topic(TOPIC, partitions=2)))
    producer = Producer({"bootstrap.servers": servers})
    for number, record in enumerate(usual_records(3_600, start_ms=START_MS, every_ms=25)):
        producer.produce(TOPIC, encode_record(record), partition=number % 2, timestamp=record.time_ms)
    assert producer.flush(30) == 0
    return servers


@pytest.fixture
def monitor_file(tmp_path: Path, broker: str) -> Path:
    (tmp_path / "doors.json").write_bytes(mixed_profile().dump())
    (tmp_path / "doors.yaml").write_text(yaml.safe_dump(document(broker)))
    return tmp_path / "doors.yaml"


def document(broker: str, **spec: Any) -> dict[str, Any]:
    kafka = {"bootstrapServers": broker, "topics": {"inference": {"name": TOPIC, "partitions": 2}}}
    windows = {"duration": "5s", "watermark": "2s", "minCount": 100}
    return monitor_document(kafka=kafka, windows=windows, **spec)


def drilled(file: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = ["drill", "--monitor", str(file), "--since", "2023-11-01", "--offline", "--json", *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize(
    ("feature", "change"),
    [
        ("height", ("--shift", "1.5")),
        ("height", ("--scale", "2.54")),
        ("colour", ("--missing", "0.5")),
        ("colour", ("--swap", "blue:red")),
        ("open", ("--swap", "false:true")),
    ],
)
def test_a_change_is_found_within_its_first_windows_and_nothing_else_alarms(
    monitor_file: Path, feature: str, change: tuple[str, str]
) -> None:
    code, found = drilled(monitor_file, "--feature", feature, *change)
    assert code == 0
    assert found["found"]
    assert found["verdict"]["windows"] <= 2
    # From the middle of a window to its end, or that of the next, and the watermark.
    assert found["verdict"]["seconds"] == 4.5 + 5 * (found["verdict"]["windows"] - 1)
    assert found["alert"]["windows"] >= found["verdict"]["windows"]
    assert found["windows"] == {"learnt": 6, "before": 6, "after": 8}
    assert found["before"] == {"alarms": 0, "named": 0, "others": {}}
    assert found["after"] == {"others": {}}


def test_what_is_too_small_to_be_found_is_not_and_the_exit_code_says_so(monitor_file: Path) -> None:
    code, found = drilled(monitor_file, "--feature", "height", "--shift", "0.001", "--within", "3")
    assert code == 1
    assert not found["found"]
    assert found["verdict"] is None
    assert found["windows"]["after"] == 3


def test_the_table_says_it_in_short(monitor_file: Path) -> None:
    command = ["drill", "--monitor", str(monitor_file), "--since", "2023-11-01", "--offline"]
    result = CliRunner().invoke(app, [*command, "--feature", "height", "--shift", "2"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "first verdict that names it" in result.stdout
    assert "6 windows judged, 0 of them with drift" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--feature", "width", "--shift", "1"], "not in the baseline"),
        (["--feature", "colour", "--shift", "1"], "use --swap or --missing"),
        (["--feature", "colour", "--swap", "blue:pink"], "two categories of colour, such as blue:green"),
        (["--feature", "height", "--missing", "1.5"], "expected a share"),
        (["--feature", "height", "--shift", "1", "--until", "2023-11-02"], "0 usable records"),
    ],
)
def test_what_is_wrong_is_said(monitor_file: Path, arguments: list[str], problem: str) -> None:
    with pytest.raises(InvalidBaseline, match=problem):
        drilled(monitor_file, *arguments)


def test_one_change_at_a_time(monitor_file: Path) -> None:
    command = ["drill", "--monitor", str(monitor_file), "--feature", "height", "--shift", "1", "--scale", "2"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "give one of" in result.output


def test_traffic_that_is_too_thin_for_a_window_is_refused() -> None:
    traffic = Traffic.of(iter(usual_records(100, start_ms=START_MS, every_ms=1_000)))
    with pytest.raises(InvalidBaseline, match="5 rows a window"):
        traffic.check(parse_monitor(document("127.0.0.1:1")))


def test_a_shadow_tells_traffic_again_with_an_account_that_has_no_gap() -> None:
    monitor = parse_monitor(document("127.0.0.1:1"))
    records = usual_records(30, start_ms=START_MS, every_ms=100)
    double = shadow.scale(mixed_profile(), "height", 2.0)
    traffic = Traffic.of(iter(reversed(records)))
    told = Shadow(traffic, monitor, "b", start_ms=0, injected=Injected(0, double, 3_000))
    messages = [decode(message) for end_ms in (1_050, 1_050, 6_000) for message in told.until(end_ms)]
    assert [message.time_ms for message in messages] == sorted(message.time_ms for message in messages)
    again = [message for message in messages if isinstance(message, InferenceRecord)]
    assert [record.time_ms for record in again] == list(range(0, 6_000, 100))
    assert [record.seq for record in again] == list(range(1, 61))
    assert [record.features for record in again[:30]] == [record.features for record in records]
    heights = [(record.features or [[]])[0][0] for record in records]
    assert [(record.features or [[]])[0][0] for record in again[30:]] == [
        None if height is None else height * 2 for height in heights
    ]
    beats = [message for message in messages if isinstance(message, Heartbeat)]
    assert [(beat.time_ms, beat.seq) for beat in beats] == [(second * 1_000, second * 10) for second in range(6)]


def test_a_shadow_carries_nothing_that_names_a_caller() -> None:
    monitor = parse_monitor(document("127.0.0.1:1"))
    secret = {"traceparent": "00-1", "headers": {"user": "x"}, "labels": {"team": "y"}, "raw": {"request": None}}
    traffic = Traffic.of(make_record(time_ms=at_ms, **secret) for at_ms in (0, 1_000))
    told = Shadow(traffic, monitor, "b", start_ms=0, injected=Injected(0, list, 0))
    (record,) = [one for one in map(decode, told.until(500)) if isinstance(one, InferenceRecord)]
    assert (record.traceparent, record.headers, record.labels, record.raw) == (None, {}, {}, None)


def test_the_shadow_of_a_monitor_has_topics_of_its_own_and_tells_nobody() -> None:
    given = document("127.0.0.1:1", alerts={"consecutiveWindows": 3, "webhooks": [{"name": "on-call"}]})
    made = shadow_document(given, parse_monitor(document("127.0.0.1:1")), "doors-drill-1")
    parsed = parse_monitor(made)
    assert parsed.name == "doors-drill-1"
    assert parsed.alerts.webhooks == ()
    assert parsed.alerts.consecutive_windows == 3
    topics = parsed.kafka.topics
    assert topics.inference == Topic("drill.inference.drill", partitions=2)
    others = (topics.statistics, topics.drift, topics.alerts, topics.dead_letter)
    assert all(topic.name.endswith(".drill") for topic in others)
    assert given["metadata"]["name"] == "doors"


def test_a_feature_that_is_named_without_a_change_is_not_found_by_one() -> None:
    findings = Findings("height", from_ms=10_000)
    for start_ms, verdict, named in (
        (0, "learning", []),
        (5_000, "drift", ["height", "open"]),
        (10_000, "drift", ["height"]),
    ):
        window = {"start_ms": start_ms, "end_ms": start_ms + 5_000}
        told = {"window": window, "requests": 9, "verdict": verdict, "drifted_features": named}
        findings.report(told, start_ms + 7_000)
        findings.report(told, start_ms + 9_000)
    assert not findings.is_found
    assert findings.to_document() == {
        "found": False,
        "feature": "height",
        "verdict": {"windows": 1, "seconds": 7.0},
        "alert": None,
        "windows": {"learnt": 1, "before": 1, "after": 1},
        "before": {"alarms": 1, "named": 1, "others": {"open": 1}},
        "after": {"others": {}},
    }
