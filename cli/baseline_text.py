"""A baseline profile, or two, as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.histograms import bars_of
from tidegauge.baseline import BaselineProfile
from tidegauge.comparison import Comparison
from tidegauge.concerns import concerns
from tidegauge.features import FeatureSpec
from tidegauge.reference import FeatureReference

RATES: Final = (0.01, 0.001, 0.0001)
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_WIDTH: Final = 16
FARTHEST: Final = 20


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def show_profile(console: Console, name: str, profile: BaselineProfile, *, size_bytes: int) -> None:
    console.print(
        f"{escape(name)}: {profile.rows:,} rows, {profile.outliers:,} known outliers, {len(profile.schema)} features, "
        f"{size_bytes / 1024:.0f} KiB\nid {profile.content_id}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_features("Features", profile.schema.features, profile.references))
    if profile.prediction_schema is not None:
        console.print(_features("Predictions", profile.prediction_schema.features, profile.predictions))
    console.print(_detectors(profile))
    for concern in concerns(profile):
        console.print(f"note: {escape(concern)}", highlight=False, soft_wrap=True)


def _features(title: str, specs: Sequence[FeatureSpec], references: Sequence[FeatureReference]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("name", overflow="fold", min_width=8)
    table.add_column("kind", min_width=7)
    for column in ("missing", "min", "max", "mean", "sd"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("distribution", no_wrap=True)
    for spec, reference in zip(specs, references, strict=True):
        values = map(number, (reference.low, reference.high, reference.mean, reference.sd))
        missing = f"{reference.missing / max(reference.rows, 1):.1%}" if reference.missing else "0"
        table.add_row(escape(spec.name), spec.kind, missing, *values, _histogram(spec, reference))
    return table


def _histogram(spec: FeatureSpec, reference: FeatureReference) -> str:
    """Of a category one block each; of numbers the density over the range that holds nearly all of them."""
    heights = np.array([bar.share for bar in bars_of(spec, reference, bars=_WIDTH)])
    if not len(heights) or heights.max() <= 0:
        return ""
    levels = np.ceil(heights / heights.max() * (len(_LEVELS) - 1)).astype(int)
    return "".join(_LEVELS[level] for level in levels)


def calibration_of(profile: BaselineProfile) -> list[list[str]]:
    """Headings, then for each set of detectors: how well its held-out rows carry each of RATES, and what is found."""
    rows = [["detectors", "rows held out", *(f"rate {rate:g}" for rate in RATES)]]
    for name, held_out in profile.scoring.held_out.items():
        found = [profile.scoring.known_outliers.recall(name, rate) for rate in RATES]
        cells = [
            held_out.status(rate) + ("" if share is None else f", finds {share:.0%}")
            for rate, share in zip(RATES, found, strict=True)
        ]
        rows.append([name, f"{held_out.n:,}", *cells])
    return rows


def _detectors(profile: BaselineProfile) -> Table:
    table = Table(title="Outlier scores, by set of detectors", title_justify="left")
    (detectors, rows, *rates), *sets = calibration_of(profile)
    table.add_column(detectors, overflow="fold")
    table.add_column(rows, justify="right")
    for rate in rates:
        table.add_column(rate)
    for name, *cells in sets:
        table.add_row(escape(name), *cells)
    if profile.outliers:
        table.caption = f"finds: share of the {profile.scoring.known_outliers.rows:,} known outliers scored"
    return table


def show_comparison(console: Console, comparison: Comparison) -> None:
    for sentence in (*comparison.schema, *comparison.scoring):
        console.print(escape(sentence), highlight=False, soft_wrap=True)
    table = Table(title="Features in both, farthest first", title_justify="left")
    table.add_column("name", overflow="fold")
    for column in ("Jensen-Shannon, nats", "shift, sd", "missing before", "missing after"):
        table.add_column(column, justify="right")
    for one in comparison.features[:FARTHEST]:
        before, after = one.missing
        shift = "" if one.shift is None else f"{one.shift:+.3f}"
        table.add_row(escape(one.name), f"{one.jensen_shannon:.5f}", shift, f"{before:.1%}", f"{after:.1%}")
    if len(comparison.features) > FARTHEST:
        table.caption = f"{len(comparison.features) - FARTHEST} more are nearer"
    console.print(table)
    console.print(
        "Distances are from bin counts; a bin that the other's edges cut is shared out evenly.", highlight=False
    )
