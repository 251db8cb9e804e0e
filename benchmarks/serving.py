"""
What the transformer costs, beside an nginx reverse proxy, KServe's stock transformer and, where the environment
variable KSERVE_AGENT names its binary, KServe's agent that logs requests, in one run on one machine.

`make bench-serving` runs it; figures go to build/bench/serving.json. The transformer monitors in full: two detectors, a
record of every request to a real Kafka broker that acknowledges each. All stand in front of an nginx that answers a
constant. CPU time per request is the figure that holds on a busy machine; rates and latencies do not.
"""

from __future__ import annotations

import http.client
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.figures import write
from benchmarks.serving_load import Load, open_loop_us, resident_bytes, run_wrk, write_script
from benchmarks.serving_sides import (
    Side,
    data,
    find_programs,
    start_agent,
    start_kserve,
    start_nginx,
    start_predictor,
    start_tidegauge,
)
from localsystem.broker import Broker
from localsystem.errors import MachineProblem
from localsystem.ports import HOST
from localsystem.system import LocalSystem

FEATURES: Final = 30
WIDE: Final = 50
"""Features of the requests that come at a fixed rate."""
CONNECTIONS: Final = 32
ROUNDS: Final = 3
SECONDS: Final = 8.0
RATE: Final = 500
RATE_SECONDS: Final = 20.0
WITHOUT_BROKER: Final = 1_000_000
"""Requests served while the broker is down."""
SETTLED: Final = 100_000
"""By then every buffer has its size."""


def main() -> int:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegauge-bench-")))
        system = stack.enter_context(LocalSystem(directory))
        try:
            find_programs("nginx", "wrk")
            system.prepare()
        except MachineProblem as problem:
            Console(stderr=True).print(f"bench-serving: {problem}")
            return 2
        broker = system.start_broker()
        broker.wait_until_ready()
        _measure(system, broker)
    return 0


def _measure(system: LocalSystem, broker: Broker) -> None:
    profile, rows = data(FEATURES)
    predictor = start_predictor(system)
    script = write_script(system.directory / "load.lua", rows)
    sides = [
        predictor,
        start_nginx(system, predictor),
        start_kserve(system, predictor),
        start_tidegauge(system, predictor, broker, profile, "tidegauge"),
    ]
    ours = sides[-1]
    crowd = _rounds(sides, script, connections=CONNECTIONS)
    account = _account(ours)
    crowd |= _of_the_agent(system, predictor, script)
    alone = _rounds([predictor, ours], script, connections=1)
    at_a_rate = _at_a_rate(system, predictor, broker)
    memory = _without_broker(system, ours, broker, script)
    figures = {
        "cpu_ratio_vs_kserve": crowd["kserve"].cpu_us / crowd["tidegauge"].cpu_us,
        "cpu_ratio_vs_nginx": crowd["tidegauge"].cpu_us / crowd["nginx"].cpu_us,
        "rate_ratio_vs_nginx": crowd["tidegauge"].per_s / crowd["nginx"].per_s,
        "added_p50_us": alone["tidegauge"].p50_us - alone["predictor"].p50_us,
        "added_p99_us_500rps": at_a_rate["tidegauge"] - at_a_rate["predictor"],
        **memory,
    }
    _show(crowd, figures)
    write(
        "serving",
        {
            "figures": {name: round(value, 3) for name, value in figures.items()},
            "connections_32": {name: asdict(load) for name, load in crowd.items()},
            "connections_1": {name: asdict(load) for name, load in alone.items()},
            "p99_us_500rps": at_a_rate,
            "account": account,
        },
    )


def _rounds(sides: list[Side], script: Path, *, connections: int) -> dict[str, Load]:
    """Each side's median round by CPU time; the sides take turns, so that what else the machine does meets all."""
    loads: dict[str, list[Load]] = {side.name: [] for side in sides}
    for number in range(ROUNDS + 1):
        for side in sides:
            load = run_wrk(side, script, connections=connections, seconds=SECONDS if number else 2.0)
            if number:  # the first is for warming up
                loads[side.name].append(load)
            if load.failed:
                raise RuntimeError(f"{side.name}: {load.failed} of {load.requests} requests failed")
    return {name: sorted(of_side, key=lambda load: load.cpu_us)[ROUNDS // 2] for name, of_side in loads.items()}


def _of_the_agent(system: LocalSystem, predictor: Side, script: Path) -> dict[str, Load]:
    """By itself: it goes on sending its events when a round is over, which the next side would pay for."""
    agent = start_agent(system, predictor)
    if agent is None:
        return {}
    loads = _rounds([agent], script, connections=CONNECTIONS)
    system.processes.stop(agent.process)
    return loads


def _at_a_rate(system: LocalSystem, predictor: Side, broker: Broker) -> dict[str, float]:
    """p99 in microseconds, the median of rounds in turn."""
    profile, rows = data(WIDE)
    wide = start_tidegauge(system, predictor, broker, profile, "tidegauge-wide")
    p99: dict[str, list[float]] = {"predictor": [], "tidegauge": []}
    for _ in range(ROUNDS):
        for name, side in (("predictor", predictor), ("tidegauge", wide)):
            latencies = open_loop_us(side, rows, per_s=RATE, seconds=RATE_SECONDS)
            p99[name].append(float(np.percentile(latencies, 99)))
    system.processes.stop(wide.process)
    return {name: median(values) for name, values in p99.items()}


def _without_broker(system: LocalSystem, ours: Side, broker: Broker, script: Path) -> dict[str, float]:
    """Resident memory of the transformer, which goes on serving while there is no broker."""
    system.processes.stop(broker.process)
    served = failed = 0
    first = 0
    while served < WITHOUT_BROKER:
        load = run_wrk(ours, script, connections=CONNECTIONS, seconds=SECONDS)
        served, failed = served + load.requests, failed + load.failed
        if served >= SETTLED and not first:
            first = resident_bytes(ours)
    return {
        "without_broker_requests": served,
        "without_broker_failed": failed,
        "without_broker_memory_growth": resident_bytes(ours) / first - 1,
    }


def _account(side: Side) -> dict[str, float]:
    """
    By the transformer's own metrics, once every record has its end. Raises RuntimeError unless all were acknowledged,
    and every row scored before its answer.
    """
    deadline = time.monotonic() + 30
    while (account := _metrics(side))["tidegauge_records_in_flight"] and time.monotonic() < deadline:
        time.sleep(0.2)
    served = account["tidegauge_served_total"]
    acknowledged = account['tidegauge_records_total{outcome="acknowledged",reason=""}']
    scored_in_time = account["tidegauge_rows_total"] - account["tidegauge_late_rows_total"]
    if not served == acknowledged == scored_in_time:
        raise RuntimeError(f"records were dropped, or rows not scored before their answers: {account}")
    return account


def _metrics(side: Side) -> dict[str, float]:
    connection = http.client.HTTPConnection(HOST, side.port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.findall(r"^(tidegauge_[a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found if "_bucket" not in name}


def _show(crowd: Mapping[str, Load], figures: Mapping[str, float]) -> None:
    table = Table(title=f"{CONNECTIONS} connections, one row of {FEATURES} features a request", title_justify="left")
    for column in ("", "CPU us a request", "requests/s", "p50 us", "p99 us"):
        table.add_column(column, justify="right" if column else "left")
    for name, load in crowd.items():
        table.add_row(name, *(f"{value:,.0f}" for value in (load.cpu_us, load.per_s, load.p50_us, load.p99_us)))
    console = Console()
    console.print(table)
    for name, value in figures.items():
        console.print(f"{name}  {value:,.3f}")


if __name__ == "__main__":
    sys.exit(main())
