"""
What stops the aggregator on purpose.

    StartError        it cannot start; one line that says what is wrong and what to do
    SourceFailed      the messages that are to be read cannot be had
    DeliveryStopped   a micro-batch is not delivered, and will be after the next start
"""

from __future__ import annotations


class StartError(Exception):
    """Raised before any record is read; the process prints the text and exits with code 2."""


class SourceFailed(Exception):
    """Ends the query; one line that says what is wrong and what to do."""


class DeliveryStopped(Exception):
    """Ends the query. Short on purpose: Spark's handling of a long text overflows its stack."""
