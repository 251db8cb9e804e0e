"""`tidegauge demo`: the whole system on this machine, on real data with a known drift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    seconds: Annotated[int, typer.Option(help="How long to send requests; at least 50.")] = 240,
    rate: Annotated[int, typer.Option(help="Requests per second.")] = 200,
    seed: Annotated[int, typer.Option(help="Order of the replayed rows.")] = 7,
    output: Annotated[Path, typer.Option(help="Where the report, logs and data go.")] = Path("build/demo"),
    broker_port: Annotated[int | None, typer.Option(help="Kafka's port; a free one by default.")] = None,
    transformer_port: Annotated[
        int | None, typer.Option(help="The transformer's HTTP port; a free one by default.")
    ] = None,
) -> None:
    """
    Watch real requests be scored, logged and judged: Kafka, KServe and Spark on this machine, stopped at the end.

    Exit code 0 when all worked, 1 when something was lost or not found, 2 when this machine lacks something.
    """
    try:
        from rich.console import Console

        from localsystem.demo.run import Options, run_demo
    except ImportError as error:
        typer.echo(f"tidegauge demo: {error.name} is not installed: pip install 'tidegauge[local]'", err=True)
        raise typer.Exit(2) from error
    options = Options(
        seconds=seconds,
        rate=rate,
        seed=seed,
        output=output,
        broker_port=broker_port,
        transformer_port=transformer_port,
    )
    raise typer.Exit(run_demo(options, Console()))
