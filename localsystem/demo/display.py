"""What the demonstration tells while it runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from localsystem.demo.plan import Schedule
from localsystem.demo.replay import Progress as Sent
from localsystem.demo.watch import SeenReport

_PLAIN_EVERY_S: Final = 10.0


class Display:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    def line(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """Says what is being done; at the end, unless it failed, that it was, and how long it took."""
        began = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(f"{doing} ..."):
                yield
        else:
            self.line(f"{doing} ...")
            yield
        self.line(f"  {done} ({time.monotonic() - began:.1f} s)", style="green")

    def verdict(self, report: SeenReport) -> None:
        document = report.document
        share = document["completeness"]["share"]
        seen = "unknown completeness" if share is None else f"complete {100 * share:.4g} %"
        features = report.drifted_features
        verdict = f"DRIFT in {', '.join(features)}" if features else "no drift"
        self.line(
            f"  window {_clock(report.start_ms)}-{_clock(report.end_ms)} UTC: {document['requests']} requests, {seen}, "
            f"{document['outliers']['flagged']} outliers, {verdict}",
            style="bold red" if features else "",
        )

    @contextmanager
    def traffic(self, schedule: Schedule) -> Iterator[TrafficDisplay]:
        if not self._console.is_terminal:
            yield TrafficDisplay(self, schedule, None)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
        with Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True) as bar:
            yield TrafficDisplay(self, schedule, bar)


class TrafficDisplay:
    """Requests a second and windows closed so far."""

    def __init__(self, display: Display, schedule: Schedule, bar: Progress | None) -> None:
        self._display, self._bar = display, bar
        self._total = schedule.requests
        self._task = None if bar is None else bar.add_task("traffic", total=schedule.requests, state="")
        self._last_rate = (time.monotonic(), 0, 0.0)
        self._last_plain_s = time.monotonic()

    def progress(self, sent: Sent, *, windows: int) -> None:
        now = time.monotonic()
        since, answered, rate = self._last_rate
        if now - since >= 1.0:
            rate = (sent.answered - answered) / (now - since)
            self._last_rate = (now, sent.answered, rate)
        state = f"{rate:.0f} requests/s, {sent.answered:,} answered, {sent.failed} failed, {windows} windows closed"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=sent.answered, state=state)
        elif now - self._last_plain_s >= _PLAIN_EVERY_S:
            self._last_plain_s = now
            self._display.line(f"  {state}")


def _clock(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M:%S")
