"""The load test's user gets predictions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from localsystem.system import LocalSystem

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
def test_requests_are_answered_without_failure(tmp_path: Path) -> None:
    with LocalSystem(tmp_path) as system:
        predictor = system.start_predictor("shuttle")
        predictor.wait_until_ready()
        command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "--json"]
        command += ["--users", "2", "--spawn-rate", "2", "--run-time", "3s", "--host", predictor.url]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr
    (predictions,) = json.loads(run.stdout)
    assert predictions["name"] == "/v1/models/shuttle:predict"
    assert predictions["num_requests"] > 0
    assert predictions["num_failures"] == 0
