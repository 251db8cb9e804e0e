"""
Traffic without drift, as counts of bins: one baseline, and as many windows as asked for.

Independent rows need no rows: a window's counts are multinomial. Autocorrelated ones are drawn row by row. Traffic of
independent rows has one subject more than features: the outlier scores, whose distribution is found by scoring very
many rows with what was fitted on the baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from tidegauge.baseline import BaselineProfile
from tidegauge.binning import count_bins, cut_edges
from tidegauge.drift.window_bins import FeatureBins
from tidegauge.features import FeatureSchema, FeatureSpec, Kind, Matrix
from tidegauge.scoring.scorer import Scorer
from tidegauge.subjects import subjects_of
from tidegauge.summaries.window_summary import summarise_matrix

Counts = NDArray[np.int64]
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

FEATURES: Final = 30
SUBJECTS: Final = FEATURES + 1
"""With the outlier scores: so many share a budget."""
TRUTH_ROWS: Final = 400_000
"""Rows that stand for the whole distribution where bins have no closed form."""
AUTOCORRELATION: Final = 0.9
STEPS: Final = 128
"""To one, that autocorrelated values are rounded to: their bins are looked up then."""
COPIES: Final = 3
SCORED_ROWS: Final = 200_000
DETECTORS: Final = ("tail", "mahalanobis")
CATEGORIES: Final = 6


@dataclass(frozen=True)
class Stream:
    """
    kinds, references: one per subject. chunks: so many windows in all, (count, subjects, bins) at a time; zero where a
    subject has no bin.
    """

    kinds: tuple[Kind, ...]
    references: tuple[Counts, ...]
    rows: int
    chunks: Callable[[np.random.Generator, int], Iterator[Counts]]


class Traffic(Protocol):
    def __call__(self, rng: np.random.Generator, reference_rows: int, rows: int) -> Stream: ...


def _normal(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.normal(size=n)


def _skewed(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Rounded, so with ties; a fifth is nothing."""
    return np.round(rng.lognormal(size=n), 1) * (rng.random(n) < 0.8)


def _heavy_tailed(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """One in fifty is missing."""
    return np.where(rng.random(n) < 0.02, np.nan, rng.standard_cauchy(n))


def _categories(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    shares = 0.6 ** np.arange(CATEGORIES)
    return rng.choice(CATEGORIES, n, p=shares / shares.sum()).astype(np.float64)


def _spec(kind: Kind) -> FeatureSpec:
    names = tuple(f"c{i}" for i in range(CATEGORIES)) if kind == "categorical" else ()
    return FeatureSpec("x", kind, names)


def independent(draw: Draw, kind: Kind, copies: int = 1) -> Traffic:
    """copies: how often every row is sent."""

    def traffic(rng: np.random.Generator, reference_rows: int, rows: int) -> Stream:
        truth = draw(np.random.default_rng(99), TRUTH_ROWS)
        spec = _spec(kind)
        columns = [rng.choice(truth, reference_rows) for _ in range(FEATURES)]
        edges = [cut_edges(spec, column) for column in columns]
        references = [count_bins(e, column) for e, column in zip(edges, columns, strict=True)]
        scores = scores_of(np.column_stack(columns), spec, rng.choice(truth, (SCORED_ROWS, FEATURES)))
        truth.sort()  # searched much faster
        shares = [count_bins(e, truth) / len(truth) for e in edges]
        references.append(scores.reference)
        shares.append(scores.window / scores.window.sum())

        def chunks(rng: np.random.Generator, windows: int) -> Iterator[Counts]:
            for size in _parts(windows, 1000):
                drawn = [rng.multinomial(rows // copies, share, size=size) for share in shares]
                yield copies * _padded(drawn)

        kinds: tuple[Kind, ...] = ((kind,) * FEATURES) + ("numeric",)
        return Stream(kinds, tuple(references), rows // copies * copies, chunks)

    return traffic


def scores_of(baseline: Matrix, spec: FeatureSpec, rows: Matrix) -> FeatureBins:
    """The outlier scores of these rows, as they are compared with what the baseline makes one expect. spec: of all."""
    schema = FeatureSchema(tuple(FeatureSpec(f"x{at}", spec.kind, spec.categories) for at in range(baseline.shape[1])))
    profile = BaselineProfile.fit(baseline, schema, detectors=DETECTORS)
    scored = Scorer(profile, detectors=DETECTORS).score(rows)
    summary = summarise_matrix(rows, profile, outlier=scored.outlier, p_values=scored.p_values["combined"])
    return subjects_of(profile, summary, DETECTORS).bins.features[-1]


def autocorrelated(rng: np.random.Generator, reference_rows: int, rows: int) -> Stream:
    """
    Autoregressive features, coefficients from 0 to 0.9, rounded; every fifth is cut into categories. The baseline is a
    sample over a long time: its rows are independent.
    """
    kinds: tuple[Kind, ...] = tuple("categorical" if f % 5 == 0 else "numeric" for f in range(FEATURES))
    coefficients = np.linspace(0, AUTOCORRELATION, FEATURES)
    cuts = np.quantile(_normal(np.random.default_rng(99), TRUTH_ROWS), [0.4, 0.65, 0.8, 0.9, 0.96])
    columns = np.rint(rng.normal(size=(FEATURES, reference_rows)) * STEPS) / STEPS
    described = zip(kinds, columns, strict=True)
    edges = [cuts if kind == "categorical" else cut_edges(_spec(kind), column) for kind, column in described]
    references = tuple(count_bins(e, column) for e, column in zip(edges, columns, strict=True))

    grid = np.arange(-8 * STEPS, 8 * STEPS + 1) / STEPS
    places = [np.searchsorted(e, grid, side="right") for e in edges]

    def chunks(rng: np.random.Generator, windows: int) -> Iterator[Counts]:
        states = rng.normal(size=FEATURES) * coefficients
        for size in _parts(windows, 200):
            counted = []
            for f, a in enumerate(coefficients):
                values = rng.standard_normal(size * rows)
                if a:
                    values, after = lfilter([np.sqrt(1 - a * a)], [1.0, -a], values, zi=[states[f]])
                    states[f] = after[0]
                steps = np.rint(values * STEPS).astype(np.int32) + 8 * STEPS
                counted.append(_counted(places[f][steps], len(references[f]), rows))
            yield _padded(counted)

    return Stream(kinds, references, rows, chunks)


def resampled(table: NDArray[np.float64]) -> Traffic:
    """Rows of the table drawn at random, whole rows, in as many independent copies as give all features."""
    repeats = -(-FEATURES // table.shape[1])

    def traffic(rng: np.random.Generator, reference_rows: int, rows: int) -> Stream:
        columns = np.hstack([table[rng.integers(len(table), size=reference_rows)] for _ in range(repeats)]).T[:FEATURES]
        edges = [cut_edges(_spec("numeric"), column) for column in columns]
        references = tuple(count_bins(e, column) for e, column in zip(edges, columns, strict=True))
        places = [np.searchsorted(e, table[:, f % table.shape[1]], side="right") for f, e in enumerate(edges)]

        def chunks(rng: np.random.Generator, windows: int) -> Iterator[Counts]:
            for size in _parts(windows, 500):
                drawn = [rng.integers(len(table), size=size * rows) for _ in range(repeats)]
                yield _padded(
                    [_counted(places[f][drawn[f // table.shape[1]]], len(references[f]), rows) for f in range(FEATURES)]
                )

        return Stream(("numeric",) * FEATURES, references, rows, chunks)

    return traffic


INDEPENDENT: Final[Mapping[str, Traffic]] = {
    "normal": independent(_normal, "numeric"),
    "skewed": independent(_skewed, "numeric"),
    "heavy-tailed": independent(_heavy_tailed, "numeric"),
    "categorical": independent(_categories, "categorical"),
    "duplicated": independent(_normal, "numeric", copies=COPIES),
}


def _counted(places: NDArray[np.int64], bins: int, rows: int) -> Counts:
    """(windows, bins) of consecutive `rows` places each; the last bin, for missing values, stays empty."""
    windows = len(places) // rows
    offsets = np.repeat(np.arange(windows) * bins, rows)
    return np.bincount(places + offsets, minlength=windows * bins).reshape(windows, bins)


def _padded(counts: list[Counts]) -> Counts:
    widest = max(part.shape[1] for part in counts)
    return np.stack([np.pad(part, ((0, 0), (0, widest - part.shape[1]))) for part in counts], axis=1)


def _parts(total: int, size: int) -> Iterator[int]:
    for start in range(0, total, size):
        yield min(size, total - start)
