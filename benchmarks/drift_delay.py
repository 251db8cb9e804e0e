"""
How long drift goes unseen: ours beside the usual tests, on the same rows, at their defaults and at equal false alarms.

Features are normal, lognormal or heavy-tailed; one of them shifts, by so many standard deviations of the normal
variable that each is made from. All are given the same windows; peers that need another numpy run in environments of
their own.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.stats import ks_2samp

from benchmarks.drift_traffic import FEATURES, SUBJECTS, Stream
from benchmarks.drift_watch import Policy, Watcher
from tidegauge.binning import count_bins, cut_edges
from tidegauge.drift import normal_tail
from tidegauge.drift.chi_squared import log_survival
from tidegauge.drift_spec import DEFAULT_MINIMUM_EFFECT
from tidegauge.features import FeatureSpec

Array = NDArray[np.float64]

BASELINES: Final = 20
REFERENCE_ROWS: Final = 2000
ROWS: Final = 500
CLEAN: Final = 40
"""Windows without drift of each baseline."""
DRIFTED: Final = 8
"""Windows with it, of each baseline and effect. A drift that none of them shows counts as found in the next."""
EFFECTS: Final = (0.2, 0.3, 0.5)
EQUAL_RATE: Final = 0.02
"""Share of clean windows that may alarm where all are set to the same measured rate."""
ALPHA: Final = 0.05
CUSTOMARY_PSI: Final = 0.2
PEERS: Final = ("alibi-detect", "frouros")
OURS: Final = "tidegauge"


def measure(console: Console, *, environments: Path, directory: Path) -> dict[str, Any]:
    """{method: {at its defaults, at equal false alarms: ...}}, and the ratio of ours to the best."""
    reference, windows = _rows()
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / "reference.npy", reference)
    np.save(directory / "windows.npy", windows)
    console.print("  peers in their own environments")
    running = {peer: _start(peer, environments, directory) for peer in PEERS}
    surprise = _ours(reference, windows) | _usual(reference, windows)
    versions: dict[str, str] = {}
    for peer, process in running.items():
        if process.wait() != 0:
            raise RuntimeError(f"{peer} failed: see {directory / peer / 'log'}")
        versions |= json.loads((directory / peer / "version.json").read_text())
        surprise |= _read(directory / peer)
    table = {name: _row(name, scores) for name, scores in surprise.items() if name != f"{OURS}, scored"}
    table[OURS]["equal"] = _delays(surprise[f"{OURS}, scored"])
    constant = (("always firing", 1.0), ("never firing", 0.0))
    table |= {name: _row(name, np.full(windows.shape[:2], always)) for name, always in constant}
    return {"methods": table, "versions": versions, "delay_ratio_vs_best": _ratio(table)}


def _rows() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(baselines, rows, features), (baselines, clean windows and then those of each effect, rows, features)"""
    rng = np.random.default_rng(17)
    count = CLEAN + DRIFTED * len(EFFECTS)
    reference = _shaped(rng.normal(size=(BASELINES, REFERENCE_ROWS, FEATURES)))
    latent = rng.normal(size=(BASELINES, count, ROWS, FEATURES)).astype(np.float32)
    for baseline in range(BASELINES):
        feature = baseline % FEATURES
        for number, effect in enumerate(EFFECTS):
            start = CLEAN + number * DRIFTED
            latent[baseline, start : start + DRIFTED, :, feature] += effect
    return reference, _shaped(latent)


def _shaped(latent: Any) -> NDArray[np.float32]:
    """A third each of the features: normal, lognormal, heavy-tailed."""
    shaped = np.array(latent, dtype=np.float32)
    shaped[..., 1::3] = np.exp(shaped[..., 1::3])
    shaped[..., 2::3] = np.sinh(1.5 * shaped[..., 2::3])
    return shaped


def _start(peer: str, environments: Path, directory: Path) -> subprocess.Popen[bytes]:
    own = directory / peer
    own.mkdir(exist_ok=True)
    for name in ("reference.npy", "windows.npy"):
        (own / name).unlink(missing_ok=True)
        (own / name).symlink_to(directory.resolve() / name)
    program = Path(__file__).parent / "peers" / f"{peer.replace('-', '_')}.py"
    with (own / "log").open("wb") as log:
        return subprocess.Popen(
            [environments / peer / "bin" / "python", program, own.resolve()], stdout=log, stderr=log
        )


def _read(directory: Path) -> dict[str, Array]:
    """Per test, (baselines, windows): -log of the smallest p-value times the features, or the largest distance."""
    found = {}
    for path in sorted(directory.glob("*.npy")):
        if path.stem in ("reference", "windows"):
            continue
        values = np.load(path)
        found[path.stem] = values.max(axis=2) if path.stem.endswith("distance") else _surprise(values)
    return found


def _surprise(p_values: Array) -> Array:
    """Of the smallest over the last axis, corrected after Bonferroni; 0 and below: as expected."""
    return np.asarray(-np.log(np.maximum(p_values.min(axis=-1) * p_values.shape[-1], 1e-300)))


def _usual(reference: Any, windows: Any) -> dict[str, Array]:
    smirnov, psi = np.empty(windows.shape[:2]), np.empty(windows.shape[:2])
    for baseline in range(BASELINES):
        edges = np.quantile(reference[baseline], np.linspace(0.1, 0.9, 9), axis=0)
        for number, window in enumerate(windows[baseline]):
            p_values = np.array(
                [ks_2samp(window[:, f], reference[baseline][:, f], method="asymp").pvalue for f in range(FEATURES)]
            )
            smirnov[baseline, number] = _surprise(p_values)
            psi[baseline, number] = max(_psi(edges[:, f], window[:, f]) for f in range(FEATURES))
    return {"Kolmogorov-Smirnov, Bonferroni": smirnov, "PSI > 0.2": psi}


def _psi(edges: Array, values: Any) -> float:
    """Over the baseline's deciles, as it is customarily computed."""
    shares = np.bincount(np.searchsorted(edges, values, side="right"), minlength=10) / len(values)
    shares = np.maximum(shares, 1e-4)
    return float(((shares - 0.1) * np.log(shares / 0.1)).sum())


def _ours(reference: Any, windows: Any) -> dict[str, Array]:
    """
    At the defaults: 1 where the window is an alarm. Scored: by the smaller of the two tests' p-values against the
    baseline itself, which any false-alarm rate can be asked of. Both without dispersion.
    """
    alarms, scored = np.empty(windows.shape[:2]), np.empty(windows.shape[:2])
    default = Policy(15 / (30 * 86_400), DEFAULT_MINIMUM_EFFECT["jensen_shannon"], DEFAULT_MINIMUM_EFFECT["location"])
    ones = np.ones(FEATURES)
    for baseline, rows in enumerate(reference):
        edges = [cut_edges(FeatureSpec("x"), rows[:, f].astype(np.float64)) for f in range(FEATURES)]
        references = tuple(count_bins(e, rows[:, f].astype(np.float64)) for f, e in enumerate(edges))
        watcher = Watcher(
            Stream(("numeric",) * FEATURES, references, ROWS, lambda _rng, _windows: iter(())),
            decisions=2 * SUBJECTS,
        )
        flat = np.array(
            [
                np.concatenate([count_bins(e, window[:, f].astype(np.float64)) for f, e in enumerate(edges)])
                for window in windows[baseline]
            ],
            dtype=np.float64,
        )
        effects = watcher.effects(flat)
        alarms[baseline] = watcher.alarms(default, effects, ones, ones).any(axis=1)
        scored[baseline] = _scored(effects[0], effects[1], [len(one) - 1 for one in references])
    return {OURS: alarms, f"{OURS}, scored": scored}


def _scored(divergence: Array, location: Array, degrees: list[int]) -> Array:
    """-log of the smallest p-value over features and tests, the baseline's error allowed for as in two samples."""
    rows = ROWS * REFERENCE_ROWS / (ROWS + REFERENCE_ROWS)
    found = []
    for window, moved in zip(divergence, location, strict=True):
        logs = [normal_tail.log_survival(abs(z)) + np.log(2) for z in (moved * np.sqrt(rows)).tolist()]
        logs += [log_survival(8 * rows * one, df, 0.0) for one, df in zip(window.tolist(), degrees, strict=True)]
        found.append(-min(logs))
    return np.array(found)


def _row(name: str, scores: Array) -> dict[str, Any]:
    return {"threshold": _default_threshold(name), "defaults": _outcome(scores, _default_threshold(name))} | {
        "equal": _delays(scores)
    }


def _default_threshold(name: str) -> float:
    """Of the scores above: p <= 0.05 after Bonferroni, PSI and other distances > 0.2, or what is an alarm already."""
    if "firing" in name or name == OURS:
        return 0.5
    return CUSTOMARY_PSI if "distance" in name or name.startswith("PSI") else -float(np.log(ALPHA))


def _outcome(scores: Array, threshold: float) -> dict[str, Any]:
    fired = scores > threshold
    delays = {}
    for number, effect in enumerate(EFFECTS):
        part = fired[:, CLEAN + number * DRIFTED :][:, :DRIFTED]
        first = np.where(part.any(axis=1), part.argmax(axis=1), DRIFTED) + 1
        delays[str(effect)] = float(first.mean())
    return {"false_alarms": float(fired[:, :CLEAN].mean()), "delay_windows": delays}


def _delays(scores: Array) -> dict[str, Any] | None:
    """At the threshold that EQUAL_RATE of the clean windows exceed; None where scores cannot be told apart."""
    clean = np.sort(scores[:, :CLEAN].ravel())
    threshold = float(clean[int(np.ceil((1 - EQUAL_RATE) * len(clean))) - 1])
    outcome = _outcome(scores, threshold)
    return outcome if outcome["false_alarms"] >= EQUAL_RATE / 2 else None


def _ratio(table: Mapping[str, Any]) -> float:
    """Ours / the best of the others, at equal false alarms, the largest over effects."""
    others = [row["equal"]["delay_windows"] for name, row in table.items() if name != OURS and row["equal"]]
    ours = table[OURS]["equal"]["delay_windows"]
    return max(ours[effect] / min(other[effect] for other in others) for effect in ours)
