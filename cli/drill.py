"""`tidegauge drill`: how long a known change of one feature takes to be found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cli.drill_findings import Findings
    from cli.shadow import Change, Traffic
    from tidegauge.baseline import BaselineProfile
    from tidegauge.monitor import ModelMonitor


def drill(
    *,
    monitor: Annotated[
        Path, typer.Option(help="The monitor file, in the directory that the aggregator's --monitor names.")
    ],
    feature: Annotated[str, typer.Option(help="The feature to change.")],
    shift: Annotated[float | None, typer.Option(help="Add so many of the baseline's standard deviations.")] = None,
    scale: Annotated[float | None, typer.Option(help="Multiply by this, as of another unit.")] = None,
    missing: Annotated[float | None, typer.Option(help="Take away this share of the values.")] = None,
    swap: Annotated[str | None, typer.Option(help="Change two categories for each other: blue:red.")] = None,
    since: Annotated[str, typer.Option(help="Traffic to tell again: from when on, such as 10m, or a time.")] = "10m",
    until: Annotated[str | None, typer.Option(help="Up to when; all that there is by default.")] = None,
    quiet: Annotated[
        int, typer.Option(help="Windows judged unchanged, after the six that are learnt from.", min=1, max=1000)
    ] = 6,
    within: Annotated[int, typer.Option(help="Windows after the change in which it must be found.", min=1)] = 8,
    offline: Annotated[
        bool, typer.Option("--offline", help="Judge here, without an aggregator: seconds are those of event time.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """
    Change one feature of a shadow of your traffic: is it found, how soon, and what else alarms?

    A stretch of the monitor's traffic is told again under another name on a topic of its own: unchanged until the
    aggregator has learnt from it, then changed. Nobody is told of its alerts. The aggregator that runs takes the shadow
    up, since it reads all monitor files of its directory, and lets it go afterwards.

    Exit code 0: found. 1: not found, or named before the change as well. 2: the drill could not be made.

    Examples:

      tidegauge drill --monitor monitors/shuttle.yaml --feature f3 --shift 1

      tidegauge drill --monitor shuttle.yaml --feature f3 --missing 0.2 --since 2h --until 1h --offline --json
    """
    import time

    from cli.drill_findings import Findings
    from cli.shadow import Injected, position_of
    from cli.stretches import profile_like, read_monitor
    from tidegauge.dispersion import LEARNING_PAIRS

    unchanged = LEARNING_PAIRS + 1 + quiet  # windows: those that are only learnt from, and these
    known = read_monitor(monitor)
    profile = profile_like(None, monitor, known)
    position = position_of(profile, feature)
    change = _change(profile, feature, shift=shift, scale=scale, missing=missing, swap=swap)
    traffic = _traffic(known, profile, since, until)
    now_ms = time.time_ns() // 1_000_000
    if offline:
        findings = _judged_here(known, profile, traffic, Injected(position, change, now_ms), feature, unchanged, within)
    else:
        from cli.shadow_topic import Deployed

        deployed = Deployed(monitor, known, profile.content_id, name=f"{known.name}-drill-{now_ms // 1000}")
        findings = deployed.run(
            traffic,
            lambda from_ms: Injected(position, change, from_ms),
            lambda from_ms: Findings(feature, from_ms),
            unchanged=unchanged,
            within=within,
        )
    _print(findings, known, offline, json)
    raise typer.Exit(0 if findings.is_found else 1)


def _change(
    profile: BaselineProfile,
    feature: str,
    *,
    shift: float | None,
    scale: float | None,
    missing: float | None,
    swap: str | None,
) -> Change:
    import numpy as np

    from cli import shadow

    given = [option for option in (shift, scale, missing, swap) if option is not None]
    if len(given) != 1:
        raise typer.BadParameter("give one of --shift, --scale, --missing and --swap")
    if shift is not None:
        return shadow.shift(profile, feature, shift)
    if scale is not None:
        return shadow.scale(profile, feature, scale)
    if missing is not None:
        return shadow.missing(feature, missing, np.random.default_rng(1))
    return shadow.swap(profile, feature, str(swap))


def _traffic(monitor: ModelMonitor, profile: BaselineProfile, since: str, until: str | None) -> Traffic:
    from datetime import UTC, datetime

    from cli.shadow import Traffic
    from cli.stretches import moment_ms
    from cli.topic import Stretch, TopicSource

    now = datetime.now(UTC)
    stretch = Stretch(
        moment_ms(since, option="--since", now=now),
        None if until is None else moment_ms(until, option="--until", now=now),
    )
    traffic = Traffic.of(TopicSource(monitor, profile.schema, stretch, profile.content_id).records())
    traffic.check(monitor)
    return traffic


def _judged_here(
    monitor: ModelMonitor,
    profile: BaselineProfile,
    traffic: Traffic,
    injected: Any,
    feature: str,
    unchanged: int,
    within: int,
) -> Findings:
    """The change comes in the middle of a window. A verdict is known once its window's watermark has passed."""
    import tempfile
    from dataclasses import replace

    import orjson

    from aggregator.catalogue import Catalogue
    from aggregator.evaluate import ALERT, REPORT
    from aggregator.replay import FoldedHistory, outputs_of_history
    from cli.drill_findings import Findings
    from cli.history import BATCH, batch_of
    from cli.shadow import Shadow

    windows = monitor.windows
    border_ms = injected.from_ms - injected.from_ms % windows.duration_ms
    start_ms = border_ms - unchanged * windows.duration_ms
    end_ms = border_ms + windows.duration_ms + (within - 1) * windows.slide_ms
    injected = replace(injected, from_ms=border_ms + windows.duration_ms // 2)
    findings = Findings(feature, injected.from_ms)
    messages = list(Shadow(traffic, monitor, profile.content_id, start_ms=start_ms, injected=injected).until(end_ms))
    catalogue = Catalogue(
        {monitor.name: monitor}, {monitor.name: profile.content_id}, {profile.content_id: profile.dump()}
    )
    with tempfile.TemporaryDirectory(prefix="tidegauge-") as directory:
        folded = FoldedHistory(Path(directory), catalogue, end_ms)
        try:
            for first in range(0, len(messages), BATCH):
                folded.add(batch_of("drill", 0, first, messages[first : first + BATCH]))
            known_ms = injected.from_ms
            for output in outputs_of_history(folded.parts(), catalogue):
                if output.kind == REPORT:
                    document = orjson.loads(output.value)
                    known_ms = document["window"]["end_ms"] + windows.watermark_ms
                    if document["window"]["end_ms"] <= end_ms:
                        findings.report(document, known_ms)
                elif output.kind == ALERT:
                    findings.told(orjson.loads(output.value), known_ms)
        finally:
            folded.close()
    return findings


def _print(findings: Findings, monitor: ModelMonitor, offline: bool, json: bool) -> None:
    import orjson

    how = "offline" if offline else "deployed"
    wait_s = monitor.windows.watermark_ms / 1000
    if json:
        whole = {"monitor": monitor.name, "judged": how, "watermark_seconds": wait_s} | findings.to_document()
        print(orjson.dumps(whole).decode())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", "windows", "seconds", title=f"{findings.feature} changed, judged {how}")
    for name, sighting in (("first verdict that names it", findings.verdict), ("first alert", findings.alert)):
        cells = ("-", "-") if sighting is None else (str(sighting.windows), f"{sighting.seconds:.1f}")
        table.add_row(name, *cells)
    console = Console()
    console.print(table)
    console.print(
        f"Before: {findings.quiet} windows judged, {findings.alarms_before} of them with drift"
        f"{_named(findings.others_before)}. After: {findings.changed} windows{_named(findings.others_after)}."
    )
    if findings.named_before:
        console.print(f"{findings.feature} was named before the change, too: choose a calmer stretch with --since.")
    console.print("Found." if findings.is_found else "Not found.")


def _named(others: Any) -> str:
    told = ", ".join(f"{name} in {windows}" for name, windows in others.most_common(5))
    return f" (other features: {told})" if told else ""
