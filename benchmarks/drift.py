"""
Drift: false alarms against the budget, power, delay beside the usual tests, and cost.

`make bench-drift` runs it, a quarter of an hour on two cores; figures go to build/bench/drift.json. drift_alarms,
drift_level, drift_power, drift_delay and drift_cost say how each is measured.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import drift_alarms, drift_cost, drift_delay, drift_level, drift_power
from benchmarks.figures import DIRECTORY, Figures, write

PEERS: Final = Path("build/peers")
"""Where scripts/setup-peers makes their environments."""


def main() -> None:
    console, began = Console(), time.monotonic()

    def step(what: str) -> None:
        console.print(f"[{time.monotonic() - began:.0f} s] {what}", markup=False)

    step("cost of judging")
    cost = drift_cost.measure()
    step("delay, beside others")
    delay = drift_delay.measure(console, environments=PEERS, directory=DIRECTORY / "drift-rows")
    _show_delays(console, delay["methods"])
    step("power")
    power = drift_power.measure()
    step("the real level, by importance sampling")
    level = drift_level.measure()
    step("false alarms")
    alarms = drift_alarms.measure(console)
    _show_alarms(console, alarms)
    figures: Figures = {
        "figures": {
            "false_alarm_breaches": drift_alarms.breaches(alarms),
            "false_alarms_mean_over_budget": drift_alarms.mean_over_budget(alarms),
            "level_realised_over_stated": max(row["mean"] for row in level.values()),
            "power_quarter_sigma": power[drift_power.STATED],
            "delay_ratio_vs_best": delay["delay_ratio_vs_best"],
            "state_bytes_per_feature": cost["summary_bytes_per_feature_30"] + cost["memory_bytes_per_feature_30"],
            "judge_30_ms": cost["judge_30_ms"],
            "judge_300_ms": cost["judge_300_ms"],
        },
        "false_alarms": alarms,
        "level": level,
        "power": power | {"always firing": 1.0, "never firing": 0.0},
        "delay": delay,
        "cost": cost,
        "seconds": round(time.monotonic() - began),
    }
    console.print(figures["figures"])
    write("drift", figures)


def _show_alarms(console: Console, alarms: dict[str, Any]) -> None:
    table = Table(title="Alarms per baseline in 10,000 windows without drift", title_justify="left")
    for column in ("traffic", "budget", "allowed", "mean", "largest", "limit, 99 %", "share over it"):
        table.add_column(column)
    for kind, by_policy in alarms.items():
        for policy, row in by_policy.items():
            numbers = [row["allowed"], row["mean"], row["largest"], row["limit_99"], row["over_limit"]]
            table.add_row(kind, policy, *(f"{number:g}" for number in numbers))
    console.print(table)


def _show_delays(console: Console, methods: dict[str, Any]) -> None:
    table = Table(title="Windows until a shift is found, at defaults and at equal false alarms", title_justify="left")
    effects = [str(effect) for effect in drift_delay.EFFECTS]
    for column in ("", "false alarms", *effects, "at equal", *effects):
        table.add_column(column)
    for name, row in methods.items():
        cells = [name]
        for outcome in (row["defaults"], row["equal"]):
            if outcome is None:
                cells += ["-"] * (1 + len(effects))
            else:
                cells += [f"{outcome['false_alarms']:.3f}", *(f"{outcome['delay_windows'][e]:.2f}" for e in effects)]
        table.add_row(*cells)
    console.print(table)


if __name__ == "__main__":
    main()
