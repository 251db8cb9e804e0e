"""
Everything the kernel raises on purpose.

    TidegaugeError
    +-- InvalidMonitor         a ModelMonitor document breaks its contract; names the field path
    +-- InvalidBaseline        bytes are not a baseline profile, or data cannot make one
    +-- BaselineMismatch       a profile does not fit the monitor or the data it is used with
    +-- InvalidRecord          bytes from the inference topic are not a record; carries a bounded reason
    +-- InvalidSummary         bytes are not a window summary of a known version
    +-- InvalidExtension       "module:Name" is not there, or is not what it is named for
    +-- IncompatibleSummaries  two summaries have different parameters and no merge
"""

from __future__ import annotations


class TidegaugeError(Exception):
    """Root of the tree: catch it where a process turns an error into one line."""


class InvalidMonitor(TidegaugeError):
    def __init__(self, path: str, expected: str, given: object) -> None:
        super().__init__(f"{path}: expected {expected}, got {_shown(given)}")
        self.path, self.expected, self.given = path, expected, given


class InvalidBaseline(TidegaugeError):
    pass


class BaselineMismatch(TidegaugeError):
    pass


class InvalidRecord(TidegaugeError):
    """`reason` is one of records.INVALID_REASONS and fit for a metric label; `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class InvalidSummary(TidegaugeError):
    pass


class InvalidExtension(TidegaugeError):
    pass


class IncompatibleSummaries(TidegaugeError):
    def __init__(self, field: str, left: object, right: object) -> None:
        super().__init__(f"cannot merge: {field} differs ({_shown(left)} != {_shown(right)})")
        self.field, self.left, self.right = field, left, right


def _shown(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
