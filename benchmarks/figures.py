"""Figures of a benchmark: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from rich.console import Console
from rich.table import Table

Figures: TypeAlias = Mapping[str, Any]

DIRECTORY: Final = Path("build/bench")


def show(title: str, figures: Mapping[str, float], *, unit: str) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column(unit, justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}")
    Console().print(table)


def write(name: str, figures: Figures) -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / f"{name}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n")
    Console().print(f"{path}")
