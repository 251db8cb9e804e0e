"""
The real level, one false alarm in 30 days, which no count of windows can see: by importance sampling.

Windows are drawn from a Dirichlet-multinomial distribution, which varies DISPERSION times as much as the multinomial
one and so reaches the alarms in every direction; each counts with the ratio of the two probabilities.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from benchmarks.drift_traffic import INDEPENDENT, Stream
from benchmarks.drift_watch import Policy, Watcher
from tidegauge.drift_spec import DEFAULT_MINIMUM_EFFECT

BASELINES: Final = 20
SAMPLES: Final = 10_000
REFERENCE_ROWS: Final = (5000, 50_000)
ROWS: Final = 5000
DISPERSION: Final = 4.0
PER_WINDOW: Final = 15 / (30 * 86_400)
"""1 per 30d, of windows of 15 s."""


def measure() -> dict[str, Any]:
    """Realised alarms / allowed ones, per kind of traffic, with the dispersion known to be 1: the strictest case."""
    found = {}
    subjects = [(kind, kind, 0) for kind in ("normal", "skewed", "heavy-tailed", "categorical")]
    for name, kind, subject in [
        *subjects,
        ("outlier scores", "normal", -1),
        ("outlier scores, heavy", "heavy-tailed", -1),
    ]:
        for effects, scale in (("no minimum effect", 0.0), ("default minimum effects", 1.0)):
            policy = Policy(
                PER_WINDOW, scale * DEFAULT_MINIMUM_EFFECT["jensen_shannon"], scale * DEFAULT_MINIMUM_EFFECT["location"]
            )
            by_baseline = [_of_baseline(kind, subject, seed, policy) for seed in range(BASELINES)]
            found[f"{name}, {effects}"] = {
                "mean": float(np.mean(by_baseline)),
                "median": float(np.median(by_baseline)),
                "largest": float(np.max(by_baseline)),
            }
    return found


def _of_baseline(kind: str, subject: int, seed: int, policy: Policy) -> float:
    """Of one subject, which has the share of one of all; the truth is known from very many rows."""
    rng, stream = np.random.default_rng([8, seed]), _stream(kind, seed)
    truth = next(stream.chunks(np.random.default_rng(5), 1000))[:, subject].sum(axis=0)
    truth = truth[: len(stream.references[subject])]
    shares = (truth + 1e-9) / (truth + 1e-9).sum()
    counts, log_ratios = _drawn(rng, shares)
    watcher = Watcher(
        Stream((stream.kinds[subject],), (stream.references[subject],), ROWS, stream.chunks),
        decisions=2 * len(stream.references),
    )
    independent = np.ones(1)
    alarms = watcher.alarms(policy, watcher.effects(counts.astype(np.float64)), independent, independent)[:, 0]
    realised = float(np.exp(log_ratios[alarms]).sum()) / SAMPLES
    return realised / (policy.per_window / len(stream.references))


@lru_cache(maxsize=2 * BASELINES)
def _stream(kind: str, seed: int) -> Stream:
    return INDEPENDENT[kind](np.random.default_rng([7, seed]), REFERENCE_ROWS[seed % 2], ROWS)


def _drawn(rng: np.random.Generator, shares: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Counts, and the logarithm of (multinomial / Dirichlet-multinomial) probability."""
    concentration = (ROWS - DISPERSION) / (DISPERSION - 1)
    alpha = concentration * shares
    counts = rng.multinomial(ROWS, rng.dirichlet(alpha, size=SAMPLES))
    plain = (counts * np.log(shares)).sum(axis=1)
    mixed = gammaln(concentration) - gammaln(ROWS + concentration)
    mixed = mixed + (gammaln(counts + alpha) - gammaln(alpha)).sum(axis=1)
    return counts, plain - mixed
