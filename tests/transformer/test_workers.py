"""Numbers of several workers put together, of those that live and of those that have ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from tidegauge.records import Account
from transformer import workers
from transformer.metrics import Metrics, Snapshot
from transformer.workers import SharedNumbers, shared_directory


def numbers(served: int, *, acknowledged: int = 0, spooled: int = 0) -> Snapshot:
    account = Account(
        served=served, acknowledged=acknowledged, spooled=spooled, in_flight=served - acknowledged - spooled
    )
    assert account.balances()
    metrics = Metrics(lambda: account, lambda: 3)
    metrics.count_answer("v1", 200)
    return metrics.snapshot()


def ended_process() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def together(directory: Path, own: Snapshot) -> Snapshot:
    async def ask() -> Snapshot:
        return SharedNumbers(directory, lambda: own).together(own)

    return asyncio.run(ask())


def test_numbers_of_workers_that_live_are_added(tmp_path: Path) -> None:
    (tmp_path / f"{os.getppid()}.json").write_bytes(orjson.dumps(numbers(5, acknowledged=3, spooled=1)))
    both = together(tmp_path, numbers(10, acknowledged=10))
    assert both["tidegauge_served"] == {"": 15}
    assert both["tidegauge_records"] == {"acknowledged|": 13, "sampled_out|": 0}
    assert both["tidegauge_records_in_flight"] == both["tidegauge_records_spooled"] == {"": 1}
    assert both["tidegauge_requests"] == {"v1|2xx": 2}
    assert both["tidegauge_queue_messages"] == {"": 6}


def test_what_a_worker_counted_stays_and_what_it_had_is_told(tmp_path: Path) -> None:
    (tmp_path / f"{ended_process()}.json").write_bytes(orjson.dumps(numbers(9, acknowledged=4, spooled=3)))
    both = together(tmp_path, numbers(1, acknowledged=1))
    assert both["tidegauge_served"] == {"": 10}
    ends = {"acknowledged|": 5, "sampled_out|": 0, "unknown|": 2, "left_on_disk|": 3}
    assert both["tidegauge_records"] == ends
    assert sum(ends.values()) == 10
    assert both["tidegauge_records_in_flight"] == both["tidegauge_records_spooled"] == {"": 0}
    assert both["tidegauge_queue_messages"] == {"": 3}


def test_a_file_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / f"{os.getppid()}.json").write_bytes(b'{"tidegauge_served"')
    assert together(tmp_path, numbers(2)) == numbers(2)


def test_numbers_are_written_when_it_starts_and_when_it_ends(tmp_path: Path) -> None:
    served = [1]

    async def run(then: Callable[[SharedNumbers], None]) -> None:
        shared = SharedNumbers(tmp_path, lambda: numbers(served[0]))
        shared.start()
        then(shared)

    def end(shared: SharedNumbers) -> None:
        served[0] = 7
        shared.close()

    asyncio.run(run(end))
    (file,) = tmp_path.iterdir()
    assert file.name == f"{os.getpid()}.json"
    assert orjson.loads(file.read_bytes()) == numbers(7)


def test_where_nothing_can_be_written_workers_do_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with shared_directory() as usual:
        assert usual is not None and Path(usual).is_dir()
    assert not Path(usual).exists()
    monkeypatch.setattr(workers, "_MEMORY", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with shared_directory() as nowhere:
        assert nowhere is None
    assert "numbers_not_shared" in caplog.text
