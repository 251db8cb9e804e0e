"""
What stops the aggregator on purpose.

    StartError        it cannot start; one line that says what is wrong and what to do
    SourceFailed      the messages that are to be read cannot be had
    DeliveryStopped   a micro-batch is not delivered, and will be after the next start
"""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 500
_SOURCE_FAILED: Final = re.compile(r"SourceFailed: ([^\n]+)")


class StartError(Exception):
    """Raised before any record is read; the process prints the text and exits with code 2."""


class SourceFailed(Exception):
    """Ends the query; one line that says what is wrong and what to do."""


class DeliveryStopped(Exception):
    """Ends the query. Short on purpose: Spark's handling of a long text overflows its stack."""


def told(error: BaseException) -> str:
    """What of Spark's long account of an error is worth a line."""
    text = str(error)
    source = _SOURCE_FAILED.search(text)
    return source[0].strip() if source else " ".join(f"{type(error).__name__}: {text}".split())[:_LONGEST]
