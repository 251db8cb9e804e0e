"""`tidegauge judge`: one file of rows against a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def judge(
    data: Annotated[
        list[str],
        typer.Argument(help="Rows to judge: .csv, .csv.gz, .parquet, .arrow or .feather files or directories."),
    ],
    *,
    baseline: Annotated[Path, typer.Option("--baseline", "-b", help="The profile to compare them with.")],
    html: Annotated[
        Path | None, typer.Option(help="Where to write the report as a page with the distributions.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """
    Judge rows as one window: has it drifted from the baseline, where and how?

    Exit code 0: no drift. 1: drift. 2: it could not be judged.

    Example: tidegauge judge yesterday.parquet --baseline shuttle-baseline.json --html drift.html
    """
    from cli.tables import open_tables
    from tidegauge.baseline import BaselineProfile
    from tidegauge.errors import InvalidBaseline
    from tidegauge.notebook import judge as judge_frame
    from tidegauge.tables import TableSource

    try:
        profile = BaselineProfile.load(baseline.read_bytes())
    except InvalidBaseline as error:
        raise InvalidBaseline(f"{baseline}: {error}") from error
    tables = open_tables(data, lambda _what, _share: None)
    report = judge_frame(TableSource(tables, schema=profile.schema), profile)
    if html:
        html.write_text(report.to_html(), encoding="utf-8")
    print(report.encode().decode() if json else report)
    raise typer.Exit({"drift": 1, "no_drift": 0}.get(report.verdict, 2))
