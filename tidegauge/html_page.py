"""Pages of HTML with bar charts: nothing to fetch, no script, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

_WIDTH: Final = 320
_HEIGHT: Final = 90

_STYLE: Final = """
.tidegauge { color-scheme: light dark; --base: #8a8f98; --now: #2b6cb0; --line: #ccc; --drift: #b42318;
  font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 1rem auto; padding: 0 1rem; }
@media (prefers-color-scheme: dark) { .tidegauge { --base: #9aa1ac; --now: #7ab4f5; --line: #555; --drift: #ff9b8f; } }
.tidegauge table { border-collapse: collapse; margin: 1rem 0; }
.tidegauge th, .tidegauge td { padding: .2rem .8rem; border-bottom: 1px solid var(--line); text-align: left; }
.tidegauge .pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 1rem; }
.tidegauge section { border: 1px solid var(--line); border-radius: 6px; padding: .6rem; overflow-wrap: anywhere; }
.tidegauge h3 { margin: 0; font-size: 1rem; }
.tidegauge .drifted { color: var(--drift); font-weight: 600; }
.tidegauge svg { width: 100%; height: 90px; border-bottom: 1px solid var(--line); }
.tidegauge .base { fill: var(--base); } .tidegauge .now { fill: var(--now); }
.tidegauge small, .tidegauge code { overflow-wrap: anywhere; }
"""


class Bars(NamedTuple):
    """One place of a chart. title: shown on it. shares: one, or the baseline's and the window's."""

    title: str
    shares: tuple[float, ...]


def page(title: str, parts: Iterable[str]) -> str:
    """parts: HTML."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body><main class="tidegauge"><h1>{escape(title)}</h1>' + "\n".join(parts) + "</main></body></html>\n"
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, marked: Iterable[str] = ()) -> str:
    """The first cell of a row names it. marked: names of rows to be seen first."""
    chosen = frozenset(marked)
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row"{_style(name in chosen)}>{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def picture(name: str, label: str, bars: Sequence[Bars], *, note: str = "", marked: bool = False) -> str:
    """A section with a chart, where there is something to draw, and a note. label: for screen readers."""
    highest = max((share for one in bars for share in one.shares), default=0.0)
    small = f"<small>{escape(note)}</small>" if note else ""
    chart = ""
    if highest > 0:
        step = _WIDTH / len(bars)
        drawn = "".join(_group(one, at * step, step, highest) for at, one in enumerate(bars))
        chart = (
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
            f'aria-label="{escape(label)}">{drawn}</svg>'
        )
    return f"<section><h3{_style(marked)}>{escape(name)}</h3>{chart}{small}</section>"


def pictures(sections: Iterable[str]) -> str:
    return '<div class="pictures">' + "\n".join(sections) + "</div>"


def _group(bars: Bars, left: float, step: float, highest: float) -> str:
    kinds = ("base", "now")[-len(bars.shares) :]
    width = 0.9 * step / len(bars.shares)
    drawn = "".join(
        f'<rect class="{kind}" x="{left + side * width:.2f}" y="{_HEIGHT * (1 - share / highest):.2f}" '
        f'width="{0.94 * width:.2f}" height="{_HEIGHT * share / highest:.2f}"/>'
        for side, (kind, share) in enumerate(zip(kinds, bars.shares, strict=True))
    )
    return f"<g><title>{escape(bars.title)}</title>{drawn}</g>"


def _style(marked: bool) -> str:
    return ' class="drifted"' if marked else ""
