"""A window's report as one HTML page, with the distributions: nothing to fetch, no script, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Final

from tidegauge.features import FeatureSpec
from tidegauge.reference import FeatureReference
from tidegauge.report import FeatureReport, WindowReport
from tidegauge.report_text import COLUMNS, HEADINGS, ordered, row_of

_WIDTH: Final = 320
_HEIGHT: Final = 90

_STYLE: Final = """
.tidegauge { color-scheme: light dark; --base: #8a8f98; --now: #2b6cb0; --line: #ccc; --drift: #b42318;
  font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 1rem auto; padding: 0 1rem; }
@media (prefers-color-scheme: dark) { .tidegauge { --base: #9aa1ac; --now: #7ab4f5; --line: #555; --drift: #ff9b8f; } }
.tidegauge table { border-collapse: collapse; margin: 1rem 0; }
.tidegauge th, .tidegauge td { padding: .2rem .8rem; border-bottom: 1px solid var(--line); text-align: left; }
.tidegauge .features { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 1rem; }
.tidegauge section { border: 1px solid var(--line); border-radius: 6px; padding: .6rem; overflow-wrap: anywhere; }
.tidegauge h3 { margin: 0; font-size: 1rem; }
.tidegauge .drifted { color: var(--drift); font-weight: 600; }
.tidegauge svg { width: 100%; height: 90px; border-bottom: 1px solid var(--line); }
.tidegauge .base { fill: var(--base); } .tidegauge .now { fill: var(--now); }
"""


def page_of(report: WindowReport) -> str:
    title = f"{report.monitor} {report.version}: {HEADINGS[report.verdict]}"
    sentences = "".join(f"<li>{escape(cause.sentence)}</li>" for cause in report.causes)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{len(report.drifted_features)} of {len(report.features)} features drifted. Baseline "
        f"<code>{escape(report.baseline[:12])}</code>, window from {report.window.start_ms} to "
        f"{report.window.end_ms} ms.</p>",
        f"<h2>What changed</h2><ul>{sentences}</ul>" if sentences else "",
        _table(report),
        f"<p>Predictions not judged: {escape(report.why_no_predictions)}.</p>" if report.why_no_predictions else "",
        _pictures(report),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body><main class="tidegauge">' + "\n".join(parts) + "</main></body></html>\n"
    )


def _table(report: WindowReport) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in COLUMNS)
    rows = []
    for feature in ordered(report):
        name, *cells = row_of(report, feature)
        style = ' class="drifted"' if feature.drifted else ""
        rows.append(
            f'<tr><th scope="row"{style}>{escape(name)}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            + "</tr>"
        )
    return f"<h2>Features</h2><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _pictures(report: WindowReport) -> str:
    """Only where the report knows what it was compared with: one read from its document does not."""
    if report.profile is None:
        return ""
    known = dict(
        zip(
            report.profile.schema.names,
            zip(report.profile.schema.features, report.profile.references, strict=True),
            strict=True,
        )
    )
    sections = [_section(feature, *known[feature.name]) for feature in ordered(report) if feature.name in known]
    return (
        "<h2>Distributions</h2><p>Share of rows in each bin of the baseline: left bar baseline, right bar window. "
        f'The last bin has the missing values.</p><div class="features">{"".join(sections)}</div>'
    )


def _section(feature: FeatureReport, spec: FeatureSpec, reference: FeatureReference) -> str:
    counts = _window_counts(feature, spec)
    if counts is None:
        return ""
    before, now = _shares(reference.counts.tolist()), _shares(counts)
    label = f"{feature.name}: baseline against window"
    style = ' class="drifted"' if feature.drifted else ""
    return (
        f"<section><h3{style}>{escape(feature.name)}</h3>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f"{_bars(before, now, _names(spec, reference))}</svg></section>"
    )


def _window_counts(feature: FeatureReport, spec: FeatureSpec) -> list[float] | None:
    """In the reference's bins, missing last; None where the report tells the most frequent categories only."""
    if spec.kind != "categorical":
        distribution = feature.statistics["distribution"]
        return [*distribution["counts"], distribution["missing"]]
    categories = feature.statistics["categories"]
    if categories["distinct"] > len(categories["top"]):
        return None
    counts = {item["value"]: item["count"] for item in categories["top"]}
    named = [counts.get(category, 0) for category in spec.categories]
    return [categories["unseen"]["count"], *named, feature.statistics["missing"]]


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def _names(spec: FeatureSpec, reference: FeatureReference) -> list[str]:
    if spec.kind == "categorical":
        return ["unseen", *map(str, spec.categories), "missing"]
    edges = [f"{edge:.6g}" for edge in reference.edges.tolist()]
    inner = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"below {edges[0]}", *inner, f"from {edges[-1]}", "missing"]


def _bars(before: Sequence[float], now: Sequence[float], names: Sequence[str]) -> str:
    highest = max(*before, *now) or 1.0
    step = _WIDTH / len(names)
    drawn = []
    for at, (was, became, name) in enumerate(zip(before, now, names, strict=True)):
        title = f"<title>{escape(name)}: {was:.1%} in the baseline, {became:.1%} in the window</title>"
        bars = "".join(
            f'<rect class="{kind}" x="{at * step + side * step * 0.45:.1f}" width="{step * 0.42:.1f}" '
            f'y="{_HEIGHT * (1 - share / highest):.1f}" height="{_HEIGHT * share / highest:.1f}"/>'
            for side, (kind, share) in enumerate((("base", was), ("now", became)))
        )
        drawn.append(f"<g>{title}{bars}</g>")
    return "".join(drawn)
