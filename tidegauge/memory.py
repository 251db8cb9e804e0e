"""What one monitor's verdicts carry from window to window, for one model version and baseline; as versioned bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from tidegauge.dispersion import Dispersion, observe_all
from tidegauge.drift.window_bins import ComparedBins
from tidegauge.report import WindowReport
from tidegauge.summaries import container

MAGIC: Final = b"tgm3"
"""Format and version of the bytes; a reader refuses what it does not know rather than guess."""

READABLE: Final = (1, 2)
"""Versions that were JSON. The first also counted windows, which nobody asked for."""


@dataclass(frozen=True)
class MonitorMemory:
    """
    spent: expected false alarms that the windows so far may have raised, at most. alerts: what alerting remembers; the
    kernel's verdicts do not read it.
    """

    dispersion: Dispersion = field(default_factory=Dispersion)
    spent: float = 0.0
    alerts: Mapping[str, Any] | None = None

    def encode(self) -> bytes:
        # Alerts as a text: features name their entries, and a name of the container's own would pass for an array.
        return MAGIC + container.dump(
            {
                "dispersion": self.dispersion.to_state(),
                "spent": self.spent,
                "alerts": orjson.dumps(self.alerts),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> MonitorMemory:
        """Raises ValueError for the bytes of a version that this program does not read."""
        if not data.startswith(MAGIC):
            return cls._of_json(data)
        state = container.load(data[len(MAGIC) :])
        return cls(Dispersion.from_state(state["dispersion"]), state["spent"], orjson.loads(state["alerts"]))

    @classmethod
    def _of_json(cls, data: bytes) -> MonitorMemory:
        """As older programs wrote it."""
        magic = data[: len(MAGIC)].decode("ascii", "replace")
        state: dict[str, Any] = orjson.loads(data) if data.startswith(b"{") else {"v": magic}
        if (version := state.get("v")) not in READABLE:
            raise ValueError(f"memory of version {version!r}, this program reads {' and '.join(map(str, READABLE))}")
        return cls(Dispersion.from_state(state["dispersion"]), float(state["spent"]), state["alerts"])


def correct(memory: MonitorMemory, report: WindowReport, *, judged: bool) -> tuple[WindowReport, MonitorMemory]:
    """
    report: a corrected one, revision 1 and up, given with this memory. judged: whether the window had its share of the
    budget before; then it costs nothing again. The windows' variation was learnt from the first version and stays.
    """
    if judged:
        report = replace(report, spending=replace(report.spending, this_window=0.0, spent=memory.spent))
    return report, replace(memory, spent=report.spending.spent)


def remember(memory: MonitorMemory, report: WindowReport) -> MonitorMemory:
    """report: as `judge` gave it with this memory. Windows come in the order of their time."""
    return remember_all([memory], [report])[0]


def remember_all(memories: Sequence[MonitorMemory], reports: Sequence[WindowReport]) -> list[MonitorMemory]:
    """The same of several monitors, or versions, a window each."""
    known = [replace(memory, spent=report.spending.spent) for memory, report in zip(memories, reports, strict=True)]
    told = [at for at, report in enumerate(reports) if report.spending.state != "too_few_rows"]
    dispersions = observe_all(
        [memories[at].dispersion for at in told],
        [_compared(reports[at]) for at in told],
        [reports[at].window for at in told],
    )
    for at, dispersion in zip(told, dispersions, strict=True):
        known[at] = replace(known[at], dispersion=dispersion)
    return known


def _compared(report: WindowReport) -> ComparedBins:
    assert report.compared is not None, "a report of `judge` has the bins that it is of"
    return report.compared
