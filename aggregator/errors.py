"""
What stops the aggregator on purpose.

    StartError    it cannot start; one line that says what is wrong and what to do
"""

from __future__ import annotations


class StartError(Exception):
    """Raised before any record is read; the process prints the text and exits with code 2."""
