"""A baseline profile as one HTML page: nothing to fetch, no script, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from cli.baseline_text import RATES, number
from cli.histograms import Bar, bars_of
from tidegauge.baseline import BaselineProfile
from tidegauge.concerns import concerns
from tidegauge.features import FeatureSpec
from tidegauge.reference import FeatureReference

_BARS: Final = 40
_WIDTH: Final = 320
_HEIGHT: Final = 90

_STYLE: Final = """
:root { color-scheme: light dark; --bar: #2b6cb0; --line: #ccc; }
@media (prefers-color-scheme: dark) { :root { --bar: #7ab4f5; --line: #555; } }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; border-bottom: 1px solid var(--line); text-align: left; }
.features { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 1rem; }
section { border: 1px solid var(--line); border-radius: 6px; padding: .6rem; overflow-wrap: anywhere; }
h3 { margin: 0; font-size: 1rem; }
svg { width: 100%; height: 90px; border-bottom: 1px solid var(--line); }
rect { fill: var(--bar); }
small, code { overflow-wrap: anywhere; }
"""


def page_of(name: str, profile: BaselineProfile) -> str:
    """name: of the file, for the heading."""
    notes = "".join(f"<li>{escape(concern)}</li>" for concern in concerns(profile))
    parts = [
        f"<h1>{escape(name)}</h1>",
        f"<p>{profile.rows:,} rows, {profile.outliers:,} known outliers, {len(profile.schema)} features<br>"
        f"id <code>{profile.content_id}</code></p>",
        f"<ul>{notes}</ul>" if notes else "",
        "<h2>Outlier scores</h2>",
        _detectors(profile),
        "<h2>Features</h2>",
        _sections(profile.schema.features, profile.references),
    ]
    if profile.prediction_schema is not None:
        parts += ["<h2>Predictions</h2>", _sections(profile.prediction_schema.features, profile.predictions)]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n<body>'
        + "\n".join(parts)
        + "</body></html>\n"
    )


def _detectors(profile: BaselineProfile) -> str:
    head = "".join(f"<th>rate {rate:g}</th>" for rate in RATES)
    rows = []
    for name, held_out in profile.scoring.held_out.items():
        cells = ""
        for rate in RATES:
            found = profile.scoring.known_outliers.recall(name, rate)
            cells += f"<td>{held_out.status(rate)}{'' if found is None else f', finds {found:.0%}'}</td>"
        rows.append(f"<tr><td>{escape(name)}</td><td>{held_out.n:,}</td>{cells}</tr>")
    return f"<table><tr><th>detectors</th><th>rows held out</th>{head}</tr>{''.join(rows)}</table>"


def _sections(specs: Sequence[FeatureSpec], references: Sequence[FeatureReference]) -> str:
    return (
        '<div class="features">'
        + "\n".join(_section(spec, reference) for spec, reference in zip(specs, references, strict=True))
        + "</div>"
    )


def _section(spec: FeatureSpec, reference: FeatureReference) -> str:
    facts = [spec.kind, f"{reference.missing / max(reference.rows, 1):.1%} missing"]
    if reference.mean is not None:
        facts += [
            f"{number(reference.low)} to {number(reference.high)}",
            f"mean {number(reference.mean)}, sd {number(reference.sd)}",
        ]
    else:
        facts.append(f"{len(spec.categories)} categories")
    bars = bars_of(spec, reference, bars=_BARS)
    return f"<section><h3>{escape(spec.name)}</h3>{_drawn(bars)}<small>{escape('; '.join(facts))}</small></section>"


def _drawn(bars: Sequence[Bar]) -> str:
    highest = max((bar.share for bar in bars), default=0.0)
    if highest <= 0:
        return ""
    step = _WIDTH / len(bars)
    drawn = "".join(
        f'<rect x="{position * step:.2f}" y="{_HEIGHT * (1 - bar.share / highest):.2f}" width="{step * 0.9:.2f}" '
        f'height="{_HEIGHT * bar.share / highest:.2f}"><title>{escape(bar.label)}: {bar.share:.2%}</title></rect>'
        for position, bar in enumerate(bars)
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img">{drawn}</svg>'
