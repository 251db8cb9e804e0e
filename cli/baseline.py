"""`tidegauge baseline`: reference data into a baseline profile, and profiles made readable."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tidegauge.baseline import BaselineProfile
    from tidegauge.scoring.detector import DetectorKind

app = typer.Typer(help="Fit baseline profiles from reference data, show and compare them.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Fit baseline profiles from reference data, show and compare them."""


@app.command()
def fit(
    data: Annotated[
        list[str],
        typer.Argument(
            help="Reference data, one column a feature: .csv, .csv.gz, .parquet, .arrow or .feather files, directories "
            'of them, or patterns such as "part-*.parquet".'
        ),
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the profile (JSON).")],
    outlier_column: Annotated[
        str | None,
        typer.Option(
            help="Column that is true (or 1) for known outliers. They stay in the drift reference, since live traffic "
            "has them too, and are left out of what outlier scores are fitted on."
        ),
    ] = None,
    prediction_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column with an output of the model, what windows' predictions are compared with; repeatable."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Column that is no feature, such as a label or an id; repeatable.")
    ] = None,
    categorical: Annotated[
        list[str] | None, typer.Option(help="Column of whole numbers that are names, such as codes; repeatable.")
    ] = None,
    detector: Annotated[
        list[str] | None, typer.Option(help="Detector to fit, built in or module:Class; repeatable. All built-in ones.")
    ] = None,
    contamination: Annotated[
        float,
        typer.Option(help="Share of the rows presumed to be outliers that nobody marked, left out of the scores."),
    ] = 0.0,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Share of normal rows that may be flagged: says whether the data suffice for it.")
    ] = 0.001,
) -> None:
    """
    Fit a baseline profile: what normal requests look like, for outlier scores and drift tests.

    Example: tidegauge baseline fit training.parquet -o shuttle-baseline.json --exclude label
    """
    from rich.console import Console

    from cli.progress import progress_bar
    from cli.tables import open_tables
    from tidegauge.baseline import BaselineProfile
    from tidegauge.tables import TableSource

    console = Console()
    with progress_bar(console) as told:
        source = TableSource(
            open_tables(data, told),
            outlier_column=outlier_column,
            prediction_columns=prediction_column or (),
            exclude=exclude or (),
            categorical=categorical or (),
        )
        profile = BaselineProfile.fit(
            source, detectors=_detectors(detector), contamination=contamination, progress=told
        )
    _write(profile, output, false_alarm_rate)


def _detectors(names: list[str] | None) -> dict[str, DetectorKind] | None:
    """Raises InvalidBaseline for one that does not exist, InvalidExtension for a module:Class that cannot be loaded."""
    from tidegauge.errors import InvalidBaseline
    from tidegauge.scoring import DETECTORS
    from tidegauge.scoring.detector import load_detectors

    if not names:
        return None
    kinds = {**DETECTORS, **load_detectors(names)}
    unknown = [name for name in names if name not in kinds]
    if unknown:
        raise InvalidBaseline(f"no detector {', '.join(unknown)}; there are {', '.join(DETECTORS)} and module:Class")
    return {name: kinds[name] for name in names}


def _write(profile: BaselineProfile, output: Path, false_alarm_rate: float) -> None:
    """Raises InvalidBaseline when the rows are too few for the rate; then nothing is written."""
    from tidegauge.concerns import calibration_status, concerns
    from tidegauge.errors import InvalidBaseline

    weak = concerns(profile, false_alarm_rate=false_alarm_rate)
    status = calibration_status(profile, false_alarm_rate)
    if status == "refused":
        raise InvalidBaseline(next(concern for concern in weak if "refused" in concern))
    output.write_bytes(profile.dump())
    for concern in weak:
        print(f"tidegauge: note: {concern}", file=sys.stderr)
    print(
        f"{output}: {profile.rows:,} rows, {profile.outliers:,} known outliers, {len(profile.schema)} features, "
        f"false-alarm rate {false_alarm_rate:g} {status}, {output.stat().st_size / 1024:.0f} KiB, "
        f"id {profile.content_id[:12]}"
    )
