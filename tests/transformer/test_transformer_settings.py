from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegauge.baseline import BaselineProfile
from transformer.arguments import InvalidSettings
from transformer.listening import reserve
from transformer.settings import GRACE_S, Grpc, Settings, read_settings

ROOT = Path(__file__).resolve().parents[2]


def read(monitor: Path, *more: str) -> Settings:
    return read_settings(["--monitor", str(monitor), "--predictor_host", "sums-predictor.tests", *more])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "transformer", *arguments)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_defaults_are_those_that_manifests_rely_on(write_monitor: Any, profile: BaselineProfile) -> None:
    settings = read(write_monitor())
    assert (settings.model_name, settings.predictor_host, settings.predictor_port) == (
        "sums",
        "sums-predictor.tests",
        80,
    )
    assert (settings.http_port, settings.workers, settings.predictor_timeout_s) == (8080, 1, 600.0)
    assert settings.max_body_bytes == 256 << 20
    assert (settings.predictor_connections, settings.predictor_queue) == (512, 4096)
    assert settings.profile.content_id == profile.content_id
    assert GRACE_S < 30, "Kubernetes kills after 30 s"


def test_the_arguments_that_the_controller_appends_are_taken(write_monitor: Any) -> None:
    appended = ["--predictor_host", "sums-predictor.tests", "--http_port", "8081", "--workers", "3"]
    settings = read_settings(["--monitor", str(write_monitor()), "--model_name", "sums", *appended])
    assert (settings.http_port, settings.workers) == (8081, 3)


def test_every_argument_of_the_sdk_is_taken() -> None:
    script = (
        "import sys; sys.argv = sys.argv[:1]\n"
        "from kserve.model_server import parser\n"
        "from transformer.command_line import command_line\n"
        "ours = {name for action in command_line()._actions for name in action.option_strings}\n"
        "theirs = {name for action in parser._actions for name in action.option_strings}\n"
        "print(sorted(theirs - ours))"
    )
    done = python("-c", script)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("given", "host", "port", "authority"),
    [
        ("p", "p", 80, "p"),
        ("p:80", "p", 80, "p"),
        ("127.0.0.1:8081", "127.0.0.1", 8081, "127.0.0.1:8081"),
        ("[::1]:8081", "::1", 8081, "[::1]:8081"),
        ("[::1]", "::1", 80, "[::1]"),
    ],
)
def test_predictor_host_with_and_without_a_port(
    write_monitor: Any, given: str, host: str, port: int, authority: str
) -> None:
    settings = read_settings(["--monitor", str(write_monitor()), "--predictor_host", given])
    assert (settings.predictor_host, settings.predictor_port, settings.predictor_authority) == (host, port, authority)


def test_a_predictor_behind_tls_has_port_443(write_monitor: Any) -> None:
    settings = read(write_monitor(), "--predictor_use_ssl", "true")
    assert (settings.predictor_port, settings.predictor_authority) == (443, "sums-predictor.tests")


@pytest.mark.parametrize("host", ["http://p", "p:", "p:http", "p:0", "p:99999", "p/path", ""])
def test_a_predictor_host_that_is_none_is_refused(write_monitor: Any, host: str) -> None:
    with pytest.raises(InvalidSettings, match="expected HOST or HOST:PORT"):
        read_settings(["--monitor", str(write_monitor()), "--predictor_host", host])


def test_help_teaches() -> None:
    done = run("--help")
    assert done.returncode == 0
    for word in ("--monitor FILE", "--predictor_host", "x-outlier", "Example:"):
        assert word in done.stdout


def refused(*arguments: str) -> str:
    """The one line it says before it ends with exit code 2."""
    done = run(*arguments)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(("transformer: ", "python -m transformer: "))
    return done.stderr


def test_arguments_that_are_missing_unknown_or_wrong_are_said_so_in_one_line() -> None:
    assert "--monitor" in refused()
    assert "--wrokers" in refused("--monitor", "x", "--predictor_host", "p", "--wrokers", "2")
    assert "between 1 and 65535" in refused("--monitor", "x", "--predictor_host", "p", "--http_port", "none")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["spec"].pop("model"), "spec.model"),
        (lambda d: d["spec"].update(windos={}), "spec.windos"),
        (lambda d: d["spec"]["model"].update(name="products"), "--model_name sums is not the model"),
        (lambda d: d["spec"].update(baseline={"configMap": "x"}), "spec.baseline.file"),
        (lambda d: d["spec"].update(baseline={"file": "nowhere.json"}), "tidegauge baseline fit"),
        (lambda d: d["spec"].update(baseline={"file": "sums.yaml"}), "not JSON"),
        (lambda d: d["spec"]["baseline"].update(sha256="0" * 64), "content id"),
        (lambda d: d["spec"].update(outliers={"falseAlarmRate": 1e-7}), "held-out rows are too few"),
    ],
    ids=[
        "missing field",
        "unknown field",
        "other model",
        "baseline elsewhere",
        "no baseline file",
        "no baseline in it",
        "other baseline",
        "baseline too small for the rate",
    ],
)
def test_a_monitor_or_baseline_that_does_not_do_is_refused_with_the_reason(
    write_monitor: Any, monitor_document: Any, change: Callable[[Any], Any], said: str
) -> None:
    change(monitor_document)
    with pytest.raises(InvalidSettings, match=said) as error:
        read(write_monitor(), "--model_name", "sums")
    assert "\n" not in str(error.value)


def test_a_monitor_file_that_is_not_there_or_not_yaml_ends_the_process_with_2(tmp_path: Path) -> None:
    assert "No such file" in refused("--monitor", str(tmp_path / "none.yaml"), "--predictor_host", "p")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,\nb: {")
    assert "not YAML" in refused("--monitor", str(broken), "--predictor_host", "p")


def test_a_monitor_that_is_no_monitor_ends_the_process_with_2(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(yaml.safe_dump([1, 2]))
    assert "expected a mapping" in refused("--monitor", str(path), "--predictor_host", "p")


def test_a_port_in_use_ends_the_process_with_2(write_monitor: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused("--monitor", str(write_monitor()), "--predictor_host", "p", "--http_port", port)
    assert "already in use" in said and port in said


def test_grpc_is_served_before_a_predictor_that_speaks_it(write_monitor: Any) -> None:
    assert read(write_monitor()).grpc is None
    alone = read(write_monitor(), "--predictor_protocol", "grpc-v2", "--grpc_port", "9001")
    assert alone.grpc == Grpc(9001, "sums-predictor.tests:80", 8 << 20, 8 << 20) and not alone.predictor_rest
    beside = read(write_monitor(), "--predictor_grpc_host", "p:81", "--grpc_max_receive_message_length", "9")
    assert beside.grpc == Grpc(8081, "p:81", 9, 8 << 20) and beside.predictor_rest
    assert read(write_monitor(), "--predictor_grpc_host", "p:81", "--enable_grpc", "false").grpc is None


def test_two_grpc_addresses_are_refused(write_monitor: Any) -> None:
    with pytest.raises(InvalidSettings, match="is the gRPC address already"):
        read(write_monitor(), "--predictor_protocol", "grpc-v2", "--predictor_grpc_host", "p:81")
    with pytest.raises(InvalidSettings, match="--predictor_grpc_host p/x: expected HOST"):
        read(write_monitor(), "--predictor_grpc_host", "p/x")


@pytest.mark.parametrize("listening", [False, True], ids=["a program of one process", "with SO_REUSEPORT"])
def test_a_grpc_port_in_use_is_refused_though_it_could_be_shared(listening: bool) -> None:
    with socket.socket() as taken:
        if listening:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidSettings, match=r"--grpc_port .* already in use"):
            reserve("--grpc_port", taken.getsockname()[1])
