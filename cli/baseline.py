"""`tidegauge baseline`: reference data into a baseline profile, and profiles made readable."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from tidegauge.baseline import BaselineProfile
    from tidegauge.gathering import Told
    from tidegauge.scoring.detector import DetectorKind

app = typer.Typer(help="Fit baseline profiles from reference data, show and compare them.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Fit baseline profiles from reference data, show and compare them."""


@app.command()
def fit(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            help="Reference data, one column a feature: .csv, .csv.gz, .parquet, .arrow or .feather files, directories "
            'of them, or patterns such as "part-*.parquet".'
        ),
    ] = None,
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
        float,
        typer.Option(
            min=1e-9, max=0.5, help="Share of normal rows that may be flagged: says whether the data suffice for it."
        ),
    ] = 0.001,
    from_topic: Annotated[
        bool, typer.Option("--from-topic", help="Take the rows from the monitor's inference topic instead of files.")
    ] = False,
    monitor: Annotated[Path | None, typer.Option(help="ModelMonitor file that names the topic.")] = None,
    since: Annotated[
        str | None, typer.Option(help="First request to take: 2h (ago), or a time such as 2026-03-01T08:00 (UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Where to end; now by default.")] = None,
    like: Annotated[
        Path | None, typer.Option(help="Profile with the records' features; by default the one the monitor names.")
    ] = None,
) -> None:
    """
    Fit a baseline profile: what normal requests look like, for outlier scores and drift tests.

    Example: tidegauge baseline fit training.parquet -o shuttle-baseline.json --exclude label
    """
    from rich.console import Console

    from cli.progress import progress_bar
    from tidegauge.baseline import BaselineProfile
    from tidegauge.tables import TableSource

    if from_topic == bool(data):
        raise typer.BadParameter("give either files or --from-topic")
    kinds = _detectors(detector)
    with progress_bar(Console()) as told:
        if from_topic:
            if outlier_column or prediction_column or exclude or categorical:
                raise typer.BadParameter("a topic has no columns to name: its features are those of the profile")
            profile = _fit_from_topic((monitor, like), (since, until), kinds, contamination, told)
        else:
            from cli.tables import open_tables

            source = TableSource(
                open_tables(data or [], told),
                outlier_column=outlier_column,
                prediction_columns=prediction_column or (),
                exclude=exclude or (),
                categorical=categorical or (),
            )
            profile = BaselineProfile.fit(source, detectors=kinds, contamination=contamination, progress=told)
    _write(profile, output, false_alarm_rate)


def _fit_from_topic(
    files: tuple[Path | None, Path | None],
    stretch: tuple[str | None, str | None],
    kinds: dict[str, DetectorKind] | None,
    contamination: float,
    told: Told,
) -> BaselineProfile:
    """files: the monitor's, and a profile's. stretch: since, until. Says what was skipped, however it ends."""
    from datetime import UTC, datetime

    from cli.stretches import moment_ms, profile_like, read_monitor
    from tidegauge.baseline import BaselineProfile

    try:
        from cli.topic import Stretch, TopicSource
    except ImportError as error:
        raise typer.BadParameter(
            "reading a topic needs confluent-kafka: pip install 'tidegauge[transformer]'"
        ) from error
    (path, like), (since, until) = files, stretch
    if path is None or since is None:
        raise typer.BadParameter("--from-topic needs --monitor and --since")
    now = datetime.now(UTC)
    asked = read_monitor(path)
    known = profile_like(like, path, asked)
    taken = Stretch(
        moment_ms(since, option="--since", now=now),
        None if until is None else moment_ms(until, option="--until", now=now),
    )
    source = TopicSource(monitor=asked, schema=known.schema, stretch=taken, baseline=known.content_id)
    try:
        return BaselineProfile.fit(source, detectors=kinds, contamination=contamination, progress=told)
    finally:
        for reason, records in sorted(source.skipped.items()):
            print(f"tidegauge: note: {records:,} records skipped: {reason}", file=sys.stderr)


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


@app.command()
def show(
    profile: Annotated[Path, typer.Argument(help="A baseline profile.")],
    html: Annotated[
        Path | None, typer.Option(help="Write a page with all distributions here; it needs nothing but a browser.")
    ] = None,
) -> None:
    """Show what a profile holds: features, distributions, detectors and how far their false-alarm rates carry."""
    from cli.baseline_page import page_of
    from cli.baseline_text import show_profile

    loaded, size_bytes = _load(profile)
    if html is not None:
        html.write_text(page_of(profile.name, loaded), encoding="utf-8")
        print(f"{html}: written")
        return
    show_profile(_console(), str(profile), loaded, size_bytes=size_bytes)


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(help="A baseline profile.")],
    second: Annotated[Path, typer.Argument(help="Another one, such as its successor.")],
    false_alarm_rate: Annotated[
        float, typer.Option(min=1e-9, max=0.5, help="At which calibrations are compared.")
    ] = 0.001,
) -> None:
    """Compare two profiles: features gone or come, distributions, calibration. Exit code 0: the same; 1: different."""
    from cli.baseline_text import show_comparison
    from tidegauge.comparison import compare

    comparison = compare(_load(first)[0], _load(second)[0], false_alarm_rate=false_alarm_rate)
    if comparison.same:
        print("the same profile")
        return
    show_comparison(_console(), comparison)
    raise typer.Exit(1)


def _load(path: Path) -> tuple[BaselineProfile, int]:
    """The profile and its size in bytes. Raises InvalidBaseline naming the file."""
    from tidegauge.baseline import BaselineProfile
    from tidegauge.errors import InvalidBaseline

    data = path.read_bytes()
    try:
        return BaselineProfile.load(data), len(data)
    except InvalidBaseline as error:
        raise InvalidBaseline(f"{path}: {error}") from error


def _console() -> Console:
    """As wide as the terminal; a file or a pipe has room for whole tables."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=140)
