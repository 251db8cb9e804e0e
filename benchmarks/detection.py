"""
How well outliers are found: our detectors and their combination beside PyOD's, and what the flags' rate really is.

`make bench-detection` runs it in some minutes on two cores; figures go to build/bench/detection.json. Every method is
fitted to the same rows and scores the same others (benchmarks.detection_data). Detectors combine as in a profile, but
all rows fit them: calibration, which ranks do not need, would keep half of a large set from them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import detection_calibration as calibration
from benchmarks.detection_data import DATA_SETS, Trial
from benchmarks.detection_peers import alike, peers, schema_of
from benchmarks.figures import write
from tidegauge.scoring import DETECTORS
from tidegauge.scoring.calibration import Surprise
from tidegauge.scoring.combination import COMBINATIONS
from tidegauge.scoring.detector import Array, scores_of
from tidegauge.scoring.fitted import NORM, set_name

PROCESSES: Final = 2
RESAMPLES: Final = 10_000
PAIR: Final = ("tail", "mahalanobis")
EVERY: Final = tuple(DETECTORS)
COMBINED: Final = {f"combined {set_name(names)}": names for names in dict.fromkeys((PAIR, EVERY))}
"""The sets of detectors whose combined score is held against the peers."""


@dataclass(frozen=True)
class Result:
    data_set: str
    auc: Mapping[str, float]
    """ROC AUC by method: our detectors, their combinations, the peers."""
    precision: Mapping[str, float]
    """Average precision."""
    gaps: Mapping[str, float]
    """AUC of the counterpart less that of our detector."""
    spearman: Mapping[str, float] = field(default_factory=dict)
    """Rank correlation with the counterpart, on continuous data."""


Cells: TypeAlias = list[calibration.Cell]
Means: TypeAlias = dict[str, dict[str, float]]


def main() -> None:
    results, cells = _measured()
    counted = [result for result in results if DATA_SETS[result.data_set].counted]
    auc = {name: _means(results, name) for name in DATA_SETS}
    best, gaps = _combined_gaps(counted)
    worst_gap = max(gap for result in counted for gap in _mean_gaps(counted, result.data_set).values())
    calibrated = calibration.summary(cells)
    figures = {
        "shuttle_stream_auc": min(auc["shuttle_stream"][name]["auc"] for name in COMBINED),
        "auc_gap_max": worst_gap,
        "combined_gap_upper": max(gap["upper"] for gap in gaps.values()),
        "calibration_breaches": max(int(cell["breaches"]) for cell in calibrated.values()),
        "broken_correlations_auc": min(auc["broken_correlations"][name]["auc"] for name in COMBINED),
        "single_feature_spikes_auc": min(auc["single_feature_spikes"][name]["auc"] for name in COMBINED),
        "spearman_min": min(value for result in results for value in result.spearman.values()),
    }
    _show_auc(auc)
    _show_calibration(calibrated)
    Console().print(figures, f"Best single peer: {best}")
    write(
        "detection",
        {
            "figures": figures,
            "best_single_peer": best,
            "combined_gap": gaps,
            "gap_to_best_peer_of_each_set": {name: _gaps_to_best(auc[name]) for name in DATA_SETS},
            "counterpart_gaps": {name: _mean_gaps(results, name) for name in DATA_SETS},
            "not_counted": [name for name, data_set in DATA_SETS.items() if not data_set.counted],
            "data_sets": auc,
            "calibration": calibrated,
        },
    )


def _measured() -> tuple[list[Result], Cells]:
    jobs: list[tuple[Callable[..., Any], str, int]] = [
        (_trial, name, seed) for name, data_set in DATA_SETS.items() for seed in range(data_set.seeds)
    ]
    jobs += [(calibration.split, source, seed) for source in calibration.SOURCES for seed in range(calibration.SPLITS)]
    results: list[Result] = []
    cells: Cells = []
    with ProcessPoolExecutor(PROCESSES) as pool:
        pending = [pool.submit(_quietly, *job) for job in jobs]
        for done in track(as_completed(pending), total=len(pending), description="trials and splits"):
            given = done.result()
            if isinstance(given, Result):
                results.append(given)
            else:
                cells += given
    return results, cells


def _quietly(run: Callable[..., Any], name: str, seed: int) -> Any:
    warnings.simplefilter("ignore")  # the peers' own
    return run(name, seed)


def _trial(name: str, seed: int) -> Result:
    from scipy.stats import spearmanr
    from sklearn.metrics import average_precision_score, roc_auc_score

    trial = DATA_SETS[name].trial(seed)
    scores = {**_ours(trial), **peers(trial, seed)}
    pairs = {detector: alike(detector, kind, trial) for detector, kind in DETECTORS.items()}
    twins = {detector: pair for detector, pair in pairs.items() if pair is not None}
    return Result(
        data_set=name,
        auc={method: float(roc_auc_score(trial.outlier, values)) for method, values in scores.items()},
        precision={method: float(average_precision_score(trial.outlier, values)) for method, values in scores.items()},
        gaps={
            detector: float(roc_auc_score(pair.outlier, pair.theirs) - roc_auc_score(pair.outlier, pair.ours))
            for detector, pair in twins.items()
        },
        spearman={detector: float(spearmanr(pair.ours, pair.theirs).statistic) for detector, pair in twins.items()}
        if DATA_SETS[name].continuous
        else {},
    )


def _ours(trial: Trial) -> dict[str, Array]:
    scores, surprises = {}, {}
    for name, kind in DETECTORS.items():
        detector = kind.fit(trial.fitting, schema_of(trial.fitting))
        scores[name] = scores_of(detector, trial.rows)
        surprises[name] = Surprise.fit(scores_of(detector, trial.fitting))(scores[name])
    for label, names in COMBINED.items():
        scores[label] = COMBINATIONS[NORM].of_rows([surprises[name] for name in names])
    return scores


def _means(results: Sequence[Result], data_set: str) -> Means:
    """By method: mean over seeds and its spread."""
    of_set = [result for result in results if result.data_set == data_set]
    means = {}
    for method in of_set[0].auc:
        aucs = [result.auc[method] for result in of_set]
        precisions = [result.precision[method] for result in of_set]
        means[method] = {
            "auc": float(np.mean(aucs)),
            "auc_sd": float(np.std(aucs)),
            "average_precision": float(np.mean(precisions)),
            "average_precision_sd": float(np.std(precisions)),
        }
    return means


def _mean_gaps(results: Sequence[Result], data_set: str) -> dict[str, float]:
    of_set = [result for result in results if result.data_set == data_set]
    return {name: float(np.mean([result.gaps[name] for result in of_set])) for name in of_set[0].gaps}


def _gaps_to_best(means: Means) -> dict[str, float]:
    """The best peer in hindsight, another one on each set, less each combination."""
    best = max(means[method]["auc"] for method in _peers(means))
    return {label: best - means[label]["auc"] for label in COMBINED}


def _combined_gaps(results: Sequence[Result]) -> tuple[str, dict[str, dict[str, float]]]:
    """
    The peer with the largest mean over all sets, and how much it is above each combination: mean over the sets, and its
    upper 95 % limit by a bootstrap of seeds, paired, within each set.
    """
    by_set: dict[str, list[Result]] = {}
    for result in results:
        by_set.setdefault(result.data_set, []).append(result)

    def mean_of(method: str) -> float:
        return float(np.mean([np.mean([result.auc[method] for result in group]) for group in by_set.values()]))

    best = max(_peers(results[0].auc), key=mean_of)
    rng = np.random.default_rng(1)
    gaps = {}
    for label in COMBINED:
        drawn = np.zeros(RESAMPLES)
        for group in by_set.values():
            differences = np.array([result.auc[best] - result.auc[label] for result in group])
            chosen = rng.integers(len(group), size=(RESAMPLES, len(group)))
            drawn += differences[chosen].mean(axis=1) / len(by_set)
        gaps[label] = {"mean": mean_of(best) - mean_of(label), "upper": float(np.quantile(drawn, 0.95))}
    return best, gaps


def _peers(methods: Mapping[str, object]) -> list[str]:
    return [method for method in methods if method not in DETECTORS and method not in COMBINED]


def _show_auc(auc: Mapping[str, Means]) -> None:
    table = Table(title="ROC AUC, mean over seeds", title_justify="left")
    table.add_column("")
    for method in next(iter(auc.values())):
        table.add_column(method.replace("+", " "), justify="right")
    for name, means in auc.items():
        table.add_row(name.replace("_", " "), *(f"{mean['auc']:.4f}" for mean in means.values()))
    Console(width=160).print(table)


def _show_calibration(calibrated: Mapping[str, Mapping[str, float]]) -> None:
    table = Table("", "rate", "breaches", "recall", title="Calibration", title_justify="left")
    for label, cell in calibrated.items():
        table.add_row(label, f"{cell['realised_rate']:.5f}", f"{cell['breaches']:.0f}", f"{cell['recall']:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
