"""`tidegauge baseline`: reference data into a baseline profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Fit baseline profiles from reference data.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Fit baseline profiles from reference data."""


@app.command()
def fit(
    data: Annotated[Path, typer.Argument(help="Reference data: .csv, .csv.gz or .parquet, one column a feature.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the profile (JSON).")],
    outlier_column: Annotated[
        str | None,
        typer.Option(
            help="Column that is true (or 1) for known outliers. They stay in the drift reference, since live traffic "
            "has them too, and are left out of what outlier scores are fitted on."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Column that is no feature, such as a label or an id; repeatable.")
    ] = None,
) -> None:
    """
    Fit a baseline profile: what normal requests look like, for outlier scores and drift tests.

    Example: tidegauge baseline fit training.parquet -o shuttle-baseline.json --exclude label
    """
    from rich.console import Console

    from cli.tables import read_reference
    from tidegauge.baseline import BaselineProfile

    console = Console()
    with console.status(f"Reading {data}"):
        reference = read_reference(data, outlier_column=outlier_column, exclude=exclude or [])
    with console.status(f"Fitting {len(reference.matrix):,} rows x {len(reference.schema)} features"):
        profile = BaselineProfile.fit(reference.matrix, reference.schema, outlier=reference.outlier)
        output.write_bytes(profile.dump())
    console.print(
        f"{output}: {profile.rows:,} rows, {profile.outliers:,} known outliers, {len(profile.schema)} features, "
        f"{output.stat().st_size / 1024:.0f} KiB, id {profile.content_id[:12]}",
        highlight=False,
        soft_wrap=True,
    )
