"""
Python's search for cycles of objects, in Spark's workers. It walks through all objects that there are, and nearly none
of ours are in cycles.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_search() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@functools.cache
def spare_what_stays(_task: str) -> None:
    """
    From now on, what there is at the first such task of this process is never searched. Spark's workers search
    everything after each task, the modules that stay for good included: 60 ms each time, before the next task begins.
    """
    gc.freeze()
