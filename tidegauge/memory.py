"""What one monitor's verdicts carry from window to window, for one model version and baseline; as versioned bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from tidegauge.baseline import BaselineProfile
from tidegauge.dispersion import Dispersion
from tidegauge.report import WindowReport
from tidegauge.subjects import subjects_of
from tidegauge.summaries.window_summary import WindowSummary

VERSION: Final = 1


@dataclass(frozen=True)
class MonitorMemory:
    """
    windows: judged so far. spent: expected false alarms that they may have raised, at most. drifted: how many of them
    were drift. alerts: what alerting remembers; the kernel's verdicts do not read it.
    """

    dispersion: Dispersion = field(default_factory=Dispersion)
    windows: int = 0
    spent: float = 0.0
    drifted: int = 0
    alerts: Mapping[str, Any] | None = None

    def encode(self) -> bytes:
        return orjson.dumps(
            {
                "v": VERSION,
                "dispersion": self.dispersion.to_state(),
                "windows": self.windows,
                "spent": self.spent,
                "drifted": self.drifted,
                "alerts": self.alerts,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> MonitorMemory:
        """Raises ValueError for the bytes of another version."""
        state = orjson.loads(data)
        if (version := state.pop("v", None)) != VERSION:
            raise ValueError(f"memory of version {version!r}, this program reads {VERSION}")
        return cls(**{**state, "dispersion": Dispersion.from_state(state["dispersion"])})


def remember(
    memory: MonitorMemory, *, profile: BaselineProfile, summary: WindowSummary, report: WindowReport
) -> MonitorMemory:
    """report: the verdict on the summary, given with this memory. Windows come in the order of their time."""
    spending = report.spending
    known = replace(
        memory,
        windows=memory.windows + 1,
        spent=spending.spent,
        drifted=memory.drifted + bool(report.drifted_features),
    )
    if spending.state == "too_few_rows":
        return known
    subjects = subjects_of(profile, summary)
    references, windows = [s.reference for s in subjects], [s.window for s in subjects]
    return replace(known, dispersion=memory.dispersion.observe(references, windows, report.window))
