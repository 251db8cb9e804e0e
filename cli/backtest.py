"""`tidegauge backtest`: what another setting would have made of traffic that is past."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pyarrow as pa
    from rich.console import Console

    from cli.topic import Stretch
    from tidegauge.baseline import BaselineProfile
    from tidegauge.monitor import ModelMonitor

    History = Callable[[], Iterable[tuple[pa.RecordBatch, float]]]


def backtest(
    history: Annotated[
        list[Path] | None,
        typer.Argument(help="With --from parquet: files or directories with messages in a column `value`."),
    ] = None,
    *,
    source: Annotated[str, typer.Option("--from", help="kafka: the monitor's inference topic. parquet: files.")],
    monitor: Annotated[Path, typer.Option(help="The monitor file as it is.")],
    what_if: Annotated[
        Path | None, typer.Option(help="The same monitor with other windows, drift, statistics or alerts.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="From when on: 24h, 7d, or a time; needed with kafka.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to when; everything by default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each verdict and alert as a line of JSON.")] = False,
) -> None:
    """
    Judge past traffic again: what would have fired with another setting, beside what fires with the one you have?

    It runs the aggregator's own code on this machine, without Spark. Each window is judged with all of its records, in
    order, as if nothing had come late; the first six are learnt from.

    Examples:

      tidegauge backtest --from kafka --since 24h --monitor shuttle.yaml --what-if stricter.yaml

      tidegauge backtest --from parquet records/ --monitor shuttle.yaml --json
    """
    from rich.console import Console

    from cli.stretches import profile_like, read_monitor

    as_is = read_monitor(monitor)
    profile = profile_like(None, monitor, as_is)
    settings = {"as it is": as_is}
    if what_if is not None:
        settings["what if"] = _same(as_is, read_monitor(what_if), what_if)
    stretch = _stretch(since, until)
    messages = _history(source, history or [], as_is, profile, stretch)
    console = Console(stderr=True)
    runs = [_run(name, one, profile, messages, stretch, console) for name, one in settings.items()]
    if json:
        _print_lines(runs)
    else:
        _print_tables(runs, Console())


@dataclass
class Run:
    """What one setting makes of the history. refused: messages of no use, by reason."""

    name: str
    reports: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)


def _same(as_is: ModelMonitor, other: ModelMonitor, path: Path) -> ModelMonitor:
    from tidegauge.errors import InvalidBaseline

    if other.name != as_is.name:
        raise InvalidBaseline(f"--what-if {path}: of monitor {other.name}, expected {as_is.name}: keep metadata.name")
    return other


def _stretch(since: str | None, until: str | None) -> Stretch:
    from datetime import UTC, datetime

    from cli.stretches import moment_ms
    from cli.topic import Stretch

    now = datetime.now(UTC)
    return Stretch(
        since_ms=0 if since is None else moment_ms(since, option="--since", now=now),
        until_ms=None if until is None else moment_ms(until, option="--until", now=now),
    )


def _history(
    source: str, paths: list[Path], monitor: ModelMonitor, profile: BaselineProfile, stretch: Stretch
) -> History:
    from cli import history
    from tidegauge.errors import InvalidBaseline

    if source == "parquet":
        if not paths:
            raise InvalidBaseline("--from parquet: name the files or directories to read")
        return lambda: history.from_parquet(paths)
    if source != "kafka" or paths:
        raise InvalidBaseline(f"--from {source}: expected kafka, without files, or parquet with some")
    if not stretch.since_ms:
        raise InvalidBaseline("--from kafka: say from when on, such as --since 24h")
    from cli.topic import TopicSource

    topic = TopicSource(monitor, profile.schema, stretch, profile.content_id)
    return lambda: history.from_topic(topic)


def _run(
    name: str, monitor: ModelMonitor, profile: BaselineProfile, messages: History, stretch: Stretch, console: Console
) -> Run:
    import tempfile
    import time

    from aggregator.catalogue import Catalogue
    from aggregator.replay import FoldedHistory, outputs_of_history
    from cli.progress import progress_bar

    catalogue = Catalogue(
        {monitor.name: monitor}, {monitor.name: profile.content_id}, {profile.content_id: profile.dump()}
    )
    run = Run(name)
    with tempfile.TemporaryDirectory(prefix="tidegauge-") as directory, progress_bar(console) as told:
        folded = FoldedHistory(Path(directory), catalogue, time.time_ns() // 1_000_000)
        try:
            for batch, share in messages():
                folded.add(batch)
                told(f"reading, {name}", share)
            told(f"judging, {name}", 1.0)
            _take(run, outputs_of_history(folded.parts(), catalogue), stretch)
            run.refused = dict(folded.refused)
        finally:
            folded.close()
    return run


def _take(run: Run, outputs: Iterator[Any], stretch: Stretch) -> None:
    import orjson

    from aggregator.evaluate import ALERT, REPORT

    for output in outputs:
        if output.kind not in (REPORT, ALERT):
            continue
        document = orjson.loads(output.value)
        if output.kind == ALERT:
            run.alerts.append(document)
        elif stretch.has(document["window"]["start_ms"]) and stretch.has(document["window"]["end_ms"] - 1):
            run.reports.append(_short(document))


def _short(report: dict[str, Any]) -> dict[str, Any]:
    """Without the statistics: a week of windows must fit into memory."""
    kept = ("monitor", "version", "window", "revision", "verdict", "drifted_features", "requests", "completeness")
    return {"kind": "report"} | {name: report[name] for name in kept}


def _print_lines(runs: list[Run]) -> None:
    import orjson

    for run in runs:
        for document in (*run.reports, *run.alerts):
            print(orjson.dumps({"setting": run.name} | document).decode())


def _print_tables(runs: list[Run], console: Console) -> None:
    from rich.table import Table

    whole = Table("", *(run.name for run in runs), title="Verdicts")
    verdicts = [Counter(report["verdict"] for report in run.reports) for run in runs]
    whole.add_row("windows", *(str(len(run.reports)) for run in runs))
    for verdict in ("drift", "no_drift", "learning", "unknown"):
        whole.add_row(verdict.replace("_", " "), *(str(counts[verdict]) for counts in verdicts))
    for reason in sorted({reason for run in runs for reason in run.refused}):
        whole.add_row(f"refused: {reason}", *(str(run.refused.get(reason, 0)) for run in runs))
    console.print(whole)
    fired = Table("since (UTC)", "about", "features", *(run.name for run in runs), title="What fires")
    for key, told in sorted(_incidents(runs).items()):
        fired.add_row(*_row(key, told), *(told.get(run.name, ("-", ""))[0] for run in runs))
    if fired.row_count:
        console.print(fired)
    else:
        console.print("Nothing fires.")


def _incidents(runs: list[Run]) -> dict[tuple[int, str, str], dict[str, tuple[str, str]]]:
    """By start, kind and version; each setting's last word on it, with the features."""
    found: dict[tuple[int, str, str], dict[str, tuple[str, str]]] = {}
    for run in runs:
        for alert in run.alerts:
            names = ", ".join(feature["name"] for feature in alert["features"][:5])
            status = "taken back" if alert["corrected"] else alert["status"]
            key = (alert["start_ms"], alert["about"], alert["version"])
            found.setdefault(key, {})[run.name] = (f"{status}, {alert['severity']}", names)
    return found


def _row(key: tuple[int, str, str], told: dict[str, tuple[str, str]]) -> tuple[str, str, str]:
    from datetime import UTC, datetime

    start_ms, about, version = key
    names = max((names for _, names in told.values()), key=len)
    moment = datetime.fromtimestamp(start_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return moment, f"{about}, version {version}", names
