"""`tidegauge backtest`: another setting beside the one there is, over files and over the topic."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from confluent_kafka import Producer
from typer.testing import CliRunner

from cli.main import app
from tests.support.examples import make_heartbeat, make_record, mixed_profile, monitor_document
from tidegauge.errors import InvalidBaseline
from tidegauge.records import encode_heartbeat, encode_record

START_MS = 1_700_000_000_000
WINDOWS = 20


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A monitor of windows of 5 s, one that hardly ever alarms, and records whose doors grow after a minute."""
    (tmp_path / "doors.json").write_bytes(mixed_profile().dump())
    windows = {"duration": "5s", "watermark": "2s", "minCount": 50}
    for name, drift in (("as-is", {}), ("lenient", {"minimumEffect": {"location": 100.0, "jensen_shannon": 0.6}})):
        document = monitor_document(windows=windows, drift=drift)
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(document))
    pq.write_table(pa.table({"value": pa.array([*messages(), b"{"], pa.binary())}), tmp_path / "records.parquet")
    return tmp_path


def messages() -> list[bytes]:
    values: list[bytes] = []
    baseline = mixed_profile().content_id
    for number in range(WINDOWS * 100):
        time_ms = START_MS + number * 50
        grown = 40.0 if number > 1200 else 0.0
        row = [150.0 + number % 41 + grown, ("blue", "blue", "green", "red")[number % 4], number % 5 == 0]
        values.append(encode_record(make_record(time_ms=time_ms, seq=number + 1, features=[row], baseline=baseline)))
        if number % 20 == 0:
            values.append(encode_heartbeat(make_heartbeat(time_ms=time_ms, seq=number, baseline=baseline)))
    return values


def run(here: Path, *arguments: str) -> str:
    command = ["backtest", "--from", "parquet", str(here / "records.parquet"), "--monitor", str(here / "as-is.yaml")]
    result = CliRunner().invoke(app, [*command, *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_what_another_setting_would_have_made_of_it_stands_beside_what_there_is(here: Path) -> None:
    lines = [json.loads(line) for line in run(here, "--what-if", str(here / "lenient.yaml"), "--json").splitlines()]
    verdicts = {
        name: [line["verdict"] for line in lines if line["setting"] == name and line["kind"] == "report"]
        for name in ("as it is", "what if")
    }
    assert {name: len(told) for name, told in verdicts.items()} == {"as it is": WINDOWS, "what if": WINDOWS}
    assert "drift" in verdicts["as it is"]
    assert "drift" not in verdicts["what if"]
    fired = [line for line in lines if line["kind"] == "alert"]
    assert fired
    assert {line["setting"] for line in fired} == {"as it is"}
    assert any(feature["name"] == "height" for feature in fired[0]["features"])


def test_the_tables_say_it_in_short(here: Path) -> None:
    told = run(here, "--what-if", str(here / "lenient.yaml"))
    assert "as it is" in told
    assert "what if" in told
    assert "height" in told
    assert "firing" in told
    assert "refused: not_json" in told


def test_a_stretch_leaves_out_windows_that_it_cuts(here: Path) -> None:
    lines = run(here, "--since", "2023-11-14T22:13:43", "--until", "2023-11-14T22:14:00", "--json").splitlines()
    starts = [json.loads(line)["window"]["start_ms"] - START_MS for line in lines if '"report"' in line]
    assert starts == [25_000, 30_000, 35_000]


def test_the_topic_says_what_files_of_its_messages_say(here: Path, servers: str) -> None:
    document = yaml.safe_load((here / "as-is.yaml").read_text())
    document["spec"]["kafka"] = {"bootstrapServers": servers}
    (here / "as-is.yaml").write_text(yaml.safe_dump(document))
    producer = Producer({"bootstrap.servers": servers})
    for number, value in enumerate(messages()):
        producer.produce("tidegauge.inference", value, timestamp=START_MS + number * 50)
    assert producer.flush(30) == 0
    stretch = ["--since", "2023-11-01", "--until", "2023-12-01"]
    command = ["backtest", "--from", "kafka", *stretch, "--monitor", str(here / "as-is.yaml"), "--json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.stdout == run(here, "--json")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--from", "kafka"], "say from when on"),
        (["--from", "parquet"], "name the files"),
        (["--from", "mail"], "expected kafka"),
        (["--from", "parquet", "nowhere.parquet"], "nowhere.parquet"),
    ],
)
def test_what_is_missing_is_said(here: Path, arguments: list[str], problem: str) -> None:
    with pytest.raises(InvalidBaseline, match=problem):
        CliRunner().invoke(app, ["backtest", *arguments, "--monitor", str(here / "as-is.yaml")], catch_exceptions=False)
