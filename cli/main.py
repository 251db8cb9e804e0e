"""The `tidegauge` command: its sub-commands, and errors turned into one line and exit code 2."""

from __future__ import annotations

import sys

import typer

from cli import backtest, baseline, demo, drill, judge
from tidegauge.errors import TidegaugeError

app = typer.Typer(
    name="tidegauge",
    help="Watches a served model: outlier scores, lossless request records, drift verdicts within seconds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(baseline.app, name="baseline")
app.command("backtest")(backtest.backtest)
app.command("demo")(demo.demo)
app.command("drill")(drill.drill)
app.command("judge")(judge.judge)


def main() -> None:
    try:
        app()
    except (TidegaugeError, OSError) as error:
        print(f"tidegauge: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
