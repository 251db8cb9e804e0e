"""
The process on a real broker, killed and started again: no window is lost, none is doubled, and all say what the kernel
says of the same messages.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import orjson
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from cli.main import app
from localsystem.system import AGGREGATOR_READY_WITHIN_S, LocalSystem
from tests.aggregator.doors import START_MS, heartbeat, profile, traffic
from tests.aggregator.stage import END, KILLS, TRAFFIC, WINDOWS, Stage, add_monitor, counted, expected, monitor
from tests.support.rooms import usual_records
from tests.support.waiting import wait_until
from tidegauge.monitor import parse_monitor


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with LocalSystem(tmp_path_factory.mktemp("process")) as system:
        system.prepare()
        broker = system.start_broker()
        monitors = system.directory / "monitors"
        monitors.mkdir()
        (monitors / "doors.json").write_bytes(profile().dump())
        broker.wait_until_ready()
        add_monitor(monitors, "doors", broker, system)
        stage = Stage(system, broker, monitors)
        yield stage
        stage.stop()


@pytest.mark.timeout(300 + 60 * KILLS)
def test_killed_at_random_moments_no_window_is_lost_or_doubled_and_all_say_what_the_kernel_says(stage: Stage) -> None:
    chance = random.Random(7)
    topics = parse_monitor(monitor("doors", stage.broker)).kafka.topics
    pieces = KILLS + 1
    size = -(-len(TRAFFIC) // pieces)
    for piece in range(pieces):
        aggregator = stage.start()
        before = len(stage.reports("doors"))
        stage.send(topics, TRAFFIC[piece * size : (piece + 1) * size], "doors")
        if piece < KILLS:
            # Somewhere between the first window of what was sent and the last.
            wanted = before + chance.randrange(3)
            wait_until(lambda wanted=wanted: len(stage.reports("doors")) >= wanted, within_s=60, what="some windows")  # type: ignore[misc]
            aggregator.process.kill()  # the driver, its JVM and workers at once
    stage.send(topics, [END], "doors")
    wait_until(lambda: len(stage.starts("doors")) > len(WINDOWS), within_s=90, what="the last window")
    reports = stage.served("doors")
    assert [report["revision"] for report in reports] == [0] * len(WINDOWS)
    assert [counted(report) for report in reports] == expected()


def test_a_monitor_that_is_added_while_it_runs_is_served_and_the_others_go_on(stage: Stage) -> None:
    aggregator = stage.start()
    topics = add_monitor(stage.monitors, "gates", stage.broker, stage.system).kafka.topics
    stage.send(topics, [*traffic(10), heartbeat(20_000)], "gates")
    wait_until(lambda: len(stage.starts("gates")) >= 2, within_s=60, what="the new monitor's windows")
    assert stage.starts("gates")[:2] == [window.start_ms for window in WINDOWS[:2]]
    assert aggregator.process.is_running()
    assert aggregator.process.logged("monitors_changed")
    assert stage.starts("doors")[: len(WINDOWS)] == [window.start_ms for window in WINDOWS]


def test_a_drill_is_taken_up_found_and_let_go(stage: Stage) -> None:
    aggregator = stage.start()
    add_monitor(stage.monitors, "halls", stage.broker, stage.system)
    topics = parse_monitor(monitor("halls", stage.broker)).kafka.topics
    stage.send(topics, usual_records(2_400, start_ms=START_MS, every_ms=25), "halls")
    files = sorted(stage.monitors.iterdir())
    command = ["drill", "--monitor", str(stage.monitors / "halls.yaml"), "--since", "2023-11-01", "--json"]
    result = CliRunner().invoke(app, [*command, "--feature", "height", "--shift", "2"], catch_exceptions=False)
    found = orjson.loads(result.stdout)
    assert result.exit_code == 0, found
    assert found["judged"] == "deployed"
    assert found["windows"]["learnt"] == 6
    assert found["windows"]["before"] >= 6
    assert found["before"]["named"] == 0
    # It is in each row from its moment on: known when the window after that has ended, at the latest.
    assert found["verdict"]["windows"] <= 2
    assert found["verdict"]["seconds"] > found["watermark_seconds"]
    assert found["alert"]["windows"] >= found["verdict"]["windows"]
    assert sorted(stage.monitors.iterdir()) == files
    assert aggregator.process.is_running()


def test_a_broker_that_is_killed_costs_no_window_and_a_poisoned_record_is_one_dead_letter(stage: Stage) -> None:
    aggregator = stage.start()
    topics = add_monitor(stage.monitors, "lofts", stage.broker, stage.system).kafka.topics
    half = len(TRAFFIC) // 2
    stage.send(topics, TRAFFIC[:half], "lofts")
    aggregator.process.wait_until(lambda: len(stage.starts("lofts")) >= 2, within_s=60, what="done with some windows")
    stage.broker.process.kill()
    stage.broker = stage.broker.run_again()
    stage.broker.wait_until_ready()
    stage.poison(topics)
    stage.send(topics, [*TRAFFIC[half:], END], "lofts")
    aggregator.process.wait_until(
        lambda: len(stage.starts("lofts")) > len(WINDOWS), within_s=120, what="done with the last window"
    )
    reports = stage.served("lofts")
    assert [report["revision"] for report in reports] == [0] * len(WINDOWS)
    assert [counted(report) for report in reports] == expected()
    assert stage.dead_letters(topics) == ["not_json"]
    assert aggregator.process.is_running()


def test_messages_that_are_deleted_before_they_are_read_end_it_with_a_line_that_names_them(stage: Stage) -> None:
    """The last test: nothing can go on after it."""
    aggregator = stage.start()
    topics = add_monitor(stage.monitors, "attics", stage.broker, stage.system).kafka.topics
    stage.send(topics, TRAFFIC, "attics")
    aggregator.process.wait_until(lambda: bool(stage.starts("attics")), within_s=60, what="done with some windows")
    stage.stop()
    stage.send(topics, TRAFFIC, "attics")
    client = AdminClient({"bootstrap.servers": stage.broker.bootstrap_servers})
    latest = len(TRAFFIC) // 3 * 2 - 5
    deleted = client.delete_records([TopicPartition(topics.inference.name, at, latest) for at in range(3)])
    assert [future.result(30).low_watermark for future in deleted.values()] == [latest] * 3
    aggregator = stage.start_again()
    assert aggregator.process.wait_for_exit(within_s=AGGREGATOR_READY_WITHIN_S) == 1
    last_line = aggregator.process.log.read_text().splitlines()[-1]
    assert re.search(
        r"query_failed SourceFailed: attics\.inference/\d: messages from offset \d+ on were deleted before they were"
        r" read; to go on without them, start with an empty --checkpoint$",
        last_line,
    )
