"""Event-time windows: which of them a record or a heartbeat belongs to. All times are UTC epoch milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

from tidegauge.monitor import Windows


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """[start_ms, end_ms)"""

    start_ms: int
    end_ms: int

    @property
    def duration_ms(self) -> int:
        return self.end_ms - self.start_ms


def windows_of(time_ms: int, windows: Windows) -> list[Window]:
    """Every window that contains time_ms, earliest first; one of them where windows do not overlap."""
    latest = time_ms - time_ms % windows.slide_ms
    earliest = latest - windows.duration_ms + windows.slide_ms
    return [_window(start, windows) for start in range(earliest, latest + 1, windows.slide_ms)]


def windows_bounded_by(time_ms: int, windows: Windows) -> list[Window]:
    """
    Every window with start <= time_ms <= end: a heartbeat counts what came before it, so the one that stands on a
    boundary closes the account of one window and opens that of the next.
    """
    containing = windows_of(time_ms, windows)
    if time_ms % windows.slide_ms:
        return containing
    ended = time_ms - windows.duration_ms
    return [_window(ended, windows), *containing]


def _window(start_ms: int, windows: Windows) -> Window:
    return Window(start_ms, start_ms + windows.duration_ms)
