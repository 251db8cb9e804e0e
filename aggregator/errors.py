"""
What stops the aggregator on purpose.

    StartError        it cannot start; one line that says what is wrong and what to do
    SourceFailed      the messages that are to be read cannot be had
    StateLost         what the checkpoint had is not there any more
    DeliveryStopped   a micro-batch is not delivered, and will be after the next start
"""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 500
_RAISED_BY_A_TASK: Final = re.compile(r"(?:SourceFailed|StateLost): ([^\n]+)")


class StartError(Exception):
    """Raised before any record is read; the process prints the text and exits with code 2."""


class SourceFailed(Exception):
    """Ends the query; one line that says what is wrong and what to do."""


class StateLost(Exception):
    """Ends the query; one line that says what is wrong and what to do."""


class DeliveryStopped(Exception):
    """Ends the query. Short on purpose: Spark's handling of a long text overflows its stack."""


def told(error: BaseException) -> str:
    """What of Spark's long account of an error is worth a line."""
    text = str(error)
    raised = _RAISED_BY_A_TASK.search(text)
    return raised[0].strip() if raised else " ".join(f"{type(error).__name__}: {text}".split())[:_LONGEST]
