"""False alarms on traffic without drift: many windows, many baselines, every kind of traffic, both budgets."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from rich.console import Console
from scipy.stats import binom

from benchmarks.drift_traffic import INDEPENDENT, Traffic, autocorrelated, resampled
from benchmarks.drift_watch import Policy, watched
from tidegauge.drift_spec import DEFAULT_MINIMUM_EFFECT

BASELINES: Final = 20
WINDOWS: Final = 10_000
REFERENCE_ROWS: Final = (5000, 50_000)
"""In turns: how much room the baseline's uncertainty leaves depends on them."""
ROWS: Final = 5000
ROWS_DRAWN: Final = 300
"""Of a window whose rows are drawn one by one."""
YOUNG: Final = 50
"""The first windows, which the dispersion is known from least."""

BUDGETS: Final = {"1 in 100": 0.01, "1 in 1,000": 0.001}
POLICIES: Final = {
    f"{budget}, {effects}": Policy(
        per_window,
        DEFAULT_MINIMUM_EFFECT["jensen_shannon"] * scale,
        DEFAULT_MINIMUM_EFFECT["location"] * scale,
    )
    for budget, per_window in BUDGETS.items()
    for effects, scale in (("no minimum effect", 0.0), ("default minimum effects", 1.0))
}


def measure(console: Console, *, windows: int = WINDOWS, baselines: int = BASELINES) -> dict[str, Any]:
    """{kind of traffic: {policy: what was found}}"""
    jobs = [(kind, seed, windows) for kind in kinds() for seed in range(baselines)]
    counts: dict[str, dict[str, list[list[int]]]] = {kind: {name: [] for name in POLICIES} for kind in kinds()}
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 2)) as pool:
        for done, (kind, found) in enumerate(pool.imap_unordered(_one, jobs), start=1):
            for name, numbers in found.items():
                counts[kind][name].append(numbers)
            if not done % 10:
                console.print(f"  {done} of {len(jobs)} baselines of {windows:,} windows")
    return {
        kind: {name: _table(np.array(numbers), name, windows) for name, numbers in by_policy.items()}
        for kind, by_policy in counts.items()
    }


def breaches(table: dict[str, Any]) -> float:
    """The largest share of baselines over their limit."""
    return max(float(row["over_limit"]) for by_policy in table.values() for row in by_policy.values())


def mean_over_budget(table: dict[str, Any]) -> float:
    return max(float(row["mean"] / row["allowed"]) for by_policy in table.values() for row in by_policy.values())


def kinds() -> dict[str, tuple[Callable[[], Traffic], int]]:
    """{kind: (what makes it, rows of a window)}"""
    made: dict[str, tuple[Callable[[], Traffic], int]] = {
        kind: (lambda traffic=traffic: traffic, ROWS) for kind, traffic in INDEPENDENT.items()
    }
    return made | {"autocorrelated": (lambda: autocorrelated, ROWS_DRAWN), "Shuttle, resampled": (_shuttle, ROWS_DRAWN)}


def _shuttle() -> Traffic:
    from localsystem.dataset import load_shuttle

    return resampled(load_shuttle().rows)


def _one(job: tuple[str, int, int]) -> tuple[str, dict[str, list[int]]]:
    kind, seed, windows = job
    traffic, rows = kinds()[kind]
    rng = np.random.default_rng([seed, list(kinds()).index(kind)])
    stream = traffic()(rng, REFERENCE_ROWS[seed % 2], rows)
    found = watched(stream, rng, windows, POLICIES)
    return kind, {name: [int(alarm.sum()), int(alarm[:YOUNG].sum())] for name, alarm in found.items()}


def _table(numbers: Any, policy: str, windows: int) -> dict[str, float]:
    """numbers: (baselines, 2) of alarms in all windows, and in the first."""
    allowed = POLICIES[policy].per_window * windows
    limit = int(binom.ppf(0.99, windows, POLICIES[policy].per_window))
    alarms = numbers[:, 0]
    return {
        "allowed": allowed,
        "mean": float(alarms.mean()),
        "largest": int(alarms.max()),
        "limit_99": limit,
        "over_limit": float((alarms > limit).mean()),
        "mean_in_the_first_50": float(numbers[:, 1].mean()),
        "allowed_in_the_first_50": POLICIES[policy].per_window * YOUNG,
    }
