"""The servers that are measured beside each other, all in front of one nginx that answers a constant."""

from __future__ import annotations

import http.client
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from localsystem.broker import Broker
from localsystem.errors import MachineProblem
from localsystem.monitor_file import MonitorSettings, write_monitor
from localsystem.ports import HOST, free_ports
from localsystem.processes import Process
from localsystem.system import LocalSystem, Part
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix

AGENT_VARIABLE: Final = "KSERVE_AGENT"
MODEL: Final = "bench"
PATH: Final = f"/v1/models/{MODEL}:predict"
ANSWER: Final = '{"predictions":[1]}'
READY_WITHIN_S: Final = 60.0
BASELINE_ROWS: Final = 20_000
SEED: Final = 11

NGINX: Final = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    {upstream}
    server {{
        listen {host}:{port};
        client_body_buffer_size 1m;
        location / {{ {location} }}
    }}
}}
"""
CONSTANT: Final = f"default_type application/json; return 200 '{ANSWER}';"
UPSTREAM: Final = "upstream predictor {{ server {predictor}; keepalive 64; keepalive_requests 1000000000; }}"
PROXY: Final = 'proxy_pass http://predictor; proxy_http_version 1.1; proxy_set_header Connection "";'


@dataclass(frozen=True)
class Side:
    name: str
    process: Process
    port: int


def find_programs(*names: str) -> None:
    """Raises MachineProblem."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise MachineProblem(f"not found: {', '.join(missing)}; install them: apt-get install {' '.join(missing)}")


def data(features: int) -> tuple[BaselineProfile, Matrix]:
    """A baseline, and rows like it that it has not seen."""
    generator = np.random.default_rng(SEED)
    mixing = 0.3 * generator.normal(size=(features, features)) + np.eye(features)
    rows = np.round(generator.normal(size=(BASELINE_ROWS + 256, features)) @ mixing, 6)
    schema = FeatureSchema(tuple(FeatureSpec(f"f{position}") for position in range(features)))
    return BaselineProfile.fit(rows[:BASELINE_ROWS], schema), rows[BASELINE_ROWS:]


def start_predictor(system: LocalSystem) -> Side:
    return _start_nginx(system, "predictor", upstream="", location=CONSTANT)


def start_nginx(system: LocalSystem, predictor: Side) -> Side:
    upstream = UPSTREAM.format(predictor=f"{HOST}:{predictor.port}")
    return _start_nginx(system, "nginx", upstream=upstream, location=PROXY)


def start_kserve(system: LocalSystem, predictor: Side) -> Side:
    port = free_ports(1)[0]
    arguments = ["--model_name", MODEL, "--predictor_host", f"{HOST}:{predictor.port}", "--http_port", str(port)]
    process = system.processes.start(
        "kserve", [sys.executable, "-m", "benchmarks.peers.kserve_transformer", *arguments], cwd=Path.cwd()
    )
    return _ready(Side("kserve", process, port))


def start_agent(system: LocalSystem, predictor: Side) -> Side | None:
    """
    KServe's agent, which logs requests and answers as CloudEvents, to an nginx that takes them all. None where the
    environment variable KSERVE_AGENT names no binary of it.
    """
    binary = shutil.which(os.environ.get(AGENT_VARIABLE, ""))
    if binary is None:
        return None
    sink = _start_nginx(system, "events", upstream="", location=CONSTANT)
    port = free_ports(1)[0]
    told = {
        "--port": port,
        "--component-port": predictor.port,
        "--log-url": f"http://{HOST}:{sink.port}/",
        "--log-mode": "all",
        "--source-uri": "http://localhost/",
        "--inference-service": MODEL,
        "--namespace": "default",
        "--endpoint": "default",
        "--component": "predictor",
    }
    process = system.processes.start(
        "agent",
        [binary, *(str(word) for option in told.items() for word in option)],
        cwd=system.directory,
        environment={"SERVING_READINESS_PROBE": "", "SERVING_LOGGING_LEVEL": "error"},
    )
    return _ready(Side("agent", process, port))


def start_tidegauge(system: LocalSystem, predictor: Side, broker: Broker, profile: BaselineProfile, name: str) -> Side:
    """name: of the side, and of its files."""
    directory = system.directory / name
    directory.mkdir()
    (directory / "baseline.json").write_bytes(profile.dump())
    file = directory / "monitor.yaml"
    settings = MonitorSettings(broker.bootstrap_servers, "baseline.json", name=MODEL)
    system.create_topics(broker, write_monitor(file, settings).kafka.topics)
    behind = Part(predictor.process, predictor.port, MODEL, READY_WITHIN_S)
    part = system.start_transformer(monitor_file=file, model=MODEL, predictor=behind)
    part.wait_until_ready()
    return Side(name, part.process, part.port)


def _start_nginx(system: LocalSystem, name: str, *, upstream: str, location: str) -> Side:
    directory = system.directory / name
    directory.mkdir()
    port = free_ports(1)[0]
    file = directory / "nginx.conf"
    file.write_text(NGINX.format(directory=directory, upstream=upstream, location=location, host=HOST, port=port))
    process = system.processes.start(name, ["nginx", "-c", file, "-e", directory / "error.log"], cwd=directory)
    return _ready(Side(name, process, port))


def _ready(side: Side) -> Side:
    side.process.wait_until(lambda: _answers(side.port), within_s=READY_WITHIN_S, what="ready")
    return side


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2.0)
    try:
        connection.request("GET", "/v2/health/live")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
