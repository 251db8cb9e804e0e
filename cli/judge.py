"""`tidegauge judge`: one file of rows against a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tidegauge.baseline import BaselineProfile


def judge(
    data: Annotated[
        list[str],
        typer.Argument(help="Rows to judge: .csv, .csv.gz, .parquet, .arrow or .feather files or directories."),
    ],
    *,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", "-b", help="The profile to compare them with; default: the monitor's.")
    ] = None,
    monitor: Annotated[
        Path | None, typer.Option(help="ModelMonitor whose windows, drift and statistics say what to judge by.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Where to write the report as a page with the distributions.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """
    Judge rows as one window: has it drifted from the baseline, where and how?

    Exit code 0: no drift. 1: drift. 2: it could not be judged.

    Example: tidegauge judge yesterday.parquet --baseline shuttle-baseline.json --html drift.html

    Example: tidegauge judge yesterday.parquet --monitor shuttle.yaml
    """
    from cli.stretches import read_monitor
    from cli.tables import open_tables
    from tidegauge.notebook import judge as judge_frame
    from tidegauge.tables import TableSource

    policy = None if monitor is None else read_monitor(monitor)
    if baseline is None:
        if monitor is None or policy is None or policy.baseline.file is None:
            raise typer.BadParameter("give the profile to compare with, or a --monitor that names its file")
        baseline = monitor.parent / policy.baseline.file
    profile = _profile(baseline)
    tables = open_tables(data, lambda _what, _share: None)
    report = judge_frame(TableSource(tables, schema=profile.schema), profile, policy)
    if html:
        html.write_text(report.to_html(), encoding="utf-8")
    print(report.encode().decode() if json else report)
    raise typer.Exit({"drift": 1, "no_drift": 0}.get(report.verdict, 2))


def _profile(path: Path) -> BaselineProfile:
    from tidegauge.baseline import BaselineProfile
    from tidegauge.errors import InvalidBaseline

    try:
        return BaselineProfile.load(path.read_bytes())
    except InvalidBaseline as error:
        raise InvalidBaseline(f"{path}: {error}") from error
