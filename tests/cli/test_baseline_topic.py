"""`tidegauge baseline fit --from-topic`: a stretch of the inference topic, read from a real broker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from confluent_kafka import Producer

from cli import main as command_line
from cli.stretches import moment_ms
from tests.support.examples import SCHEMA, make_heartbeat, make_record, mixed_profile, mixed_rows, monitor_document
from tidegauge.baseline import BaselineProfile
from tidegauge.errors import InvalidBaseline
from tidegauge.records import encode_heartbeat, encode_record

NOW_MS = 1_790_000_000_000
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
HOUR_MS = 3_600_000

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tidegauge", "baseline", "fit", "--from-topic", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err  # type: ignore[return-value]

    return run


@pytest.fixture
def monitor(tmp_path: Path, servers: str) -> Path:
    (tmp_path / "doors.json").write_bytes(mixed_profile().dump())
    path = tmp_path / "monitor.yaml"
    path.write_text(yaml.safe_dump(monitor_document(kafka={"bootstrapServers": servers})))
    return path


def send(servers: str) -> None:
    """800 rows in 400 records over two hours and two partitions, and what is of no use among them."""
    baseline = mixed_profile().content_id
    producer = Producer({"bootstrap.servers": servers})

    def produce(value: bytes, time_ms: int, partition: int = 0) -> None:
        producer.produce("tidegauge.inference", value, timestamp=time_ms, partition=partition)

    rows = SCHEMA.decode_rows(mixed_rows(800, seed=3))
    rows[0][1] = "<unseen>"
    for number in range(400):
        time_ms = NOW_MS - 2 * HOUR_MS + number * 2 * HOUR_MS // 400
        record = make_record(features=rows[2 * number : 2 * number + 2], rows=2, time_ms=time_ms, baseline=baseline)
        produce(encode_record(record), time_ms + 50, number % 2)
    useless = [
        make_record(monitor="windows", baseline=baseline),
        make_record(baseline="c" * 64),
        make_record(features=None, baseline=baseline),
        make_record(status=503, baseline=baseline),
    ]
    for record in useless:
        produce(encode_record(make_record(**{**_fields(record), "time_ms": NOW_MS - HOUR_MS})), NOW_MS)
    produce(b"not a record", NOW_MS)
    produce(encode_heartbeat(make_heartbeat()), NOW_MS)
    assert producer.flush(30) == 0


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}  # type: ignore[attr-defined]


def test_a_stretch_of_the_topic_makes_a_baseline_and_what_is_skipped_is_counted(
    run: Run, monitor: Path, servers: str
) -> None:
    send(servers)
    stretch = ("--monitor", monitor, "--since", "2026-09-21T12:00")
    assert moment_ms("2026-09-21T12:00", option="--since", now=NOW) < NOW_MS - 2 * HOUR_MS
    code, out, err = run(*stretch, "-o", "whole.json")
    assert code == 0
    assert out.startswith("whole.json: 800 rows, ")
    skipped = [line for line in err.splitlines() if "skipped" in line]
    assert skipped == [
        f"tidegauge: note: 1 records skipped: {reason}"
        for reason in (
            "not answered with 200",
            "of another monitor",
            "scored with another baseline",
            "unreadable: not_json",
            "without features",
        )
    ]
    profile = BaselineProfile.load(Path("whole.json").read_bytes())
    assert profile.schema == SCHEMA
    assert profile.references[1].counts[0] == 1  # the category that the former profile did not know
    height = mixed_rows(800, seed=3)[:, 0]
    assert profile.references[0].mean == pytest.approx(np.nanmean(height))

    assert run(*stretch, "-o", "again.json")[0] == 0
    assert Path("again.json").read_bytes() == Path("whole.json").read_bytes()

    half = datetime.fromtimestamp((NOW_MS - HOUR_MS) / 1000, UTC).isoformat()
    code, out, _ = run("--monitor", monitor, "--since", half, "-o", "later.json")
    assert (code, out.startswith("later.json: 400 rows, ")) == (0, True)
    code, out, _ = run(*stretch, "--until", half, "-o", "earlier.json", "--like", "doors.json")
    assert (code, out.startswith("earlier.json: 400 rows, ")) == (0, True)

    code, _, err = run("--monitor", monitor, "--since", "2099-01-01", "-o", "none.json")
    assert code == 2
    assert "tidegauge: 0 rows that are no known outliers" in err


def test_a_broker_that_does_not_answer_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.topic._ANSWER_WITHIN_S", 0.5)
    (tmp_path / "doors.json").write_bytes(mixed_profile().dump())
    path = tmp_path / "monitor.yaml"
    path.write_text(yaml.safe_dump(monitor_document(kafka={"bootstrapServers": "127.0.0.1:1"})))
    code, _, err = run("--monitor", path, "--since", "2h", "-o", "p.json")
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith("tidegauge: cannot read from 127.0.0.1:1: ")


def test_what_is_missing_or_wrong_is_said(run: Run, tmp_path: Path) -> None:
    assert "needs --monitor and --since" in " ".join(run("-o", "p.json")[2].replace("│", " ").split())
    path = tmp_path / "monitor.yaml"
    path.write_text(yaml.safe_dump(monitor_document(baseline={"configMap": "doors"})))
    assert "give the profile with --like" in run("--monitor", path, "--since", "2h", "-o", "p.json")[2]
    path.write_text("a: [")
    assert "monitor.yaml: not YAML" in run("--monitor", path, "--since", "2h", "-o", "p.json")[2]
    path.write_text("a: 1")
    assert "monitor.yaml: " in run("--monitor", path, "--since", "2h", "-o", "p.json")[2]


@pytest.mark.parametrize(
    ("text", "ago_s"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1.5d", 129_600), ("2026-09-21T13:00+01:00", None)]
)
def test_moments_are_durations_or_times(text: str, ago_s: int | None) -> None:
    expected = NOW_MS - ago_s * 1000 if ago_s else round(datetime(2026, 9, 21, 12, tzinfo=UTC).timestamp() * 1000)
    assert moment_ms(text, option="--since", now=NOW) == expected


def test_a_moment_that_is_neither_is_refused() -> None:
    with pytest.raises(InvalidBaseline, match="--since yesterday: expected 90s"):
        moment_ms("yesterday", option="--since", now=NOW)
