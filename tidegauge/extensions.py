"""
A user's own classes and functions, named "module:Name" in a monitor or on a command line.

Only what a person has named there is imported, never what a profile, a record or a summary names.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, Final

from tidegauge.errors import InvalidExtension

_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

_LONGEST: Final = 200


def is_extension(name: str) -> bool:
    """Whether it has the form module:Name, which no built-in name has."""
    return _PATH.fullmatch(name) is not None


def what_failed(error: Exception) -> str:
    """A user's own code raised it: one line for a report, cut off where it grows long."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST]


def load_extension(path: str, *, methods: tuple[str, ...] = ()) -> Any:
    """
    What `path`, "module:Name", stands for. methods: what it must have to be of use. Raises InvalidExtension saying what
    is missing and where it was looked for.
    """
    if not is_extension(path):
        raise InvalidExtension(f"{path!r}: expected module:Name, such as mypackage.detectors:Spread")
    module_name, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise InvalidExtension(
            f"{path}: cannot import {module_name}: {error}; install it, or set PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise InvalidExtension(f"{path}: {module_name} has no {name}") from error
    except Exception as error:
        raise InvalidExtension(f"{path}: importing {module_name} failed: {error!r}") from error
    lacking = [method for method in methods if not callable(getattr(found, method, None))]
    if lacking:
        raise InvalidExtension(f"{path} has no {', '.join(lacking)}: see docs/extending.md for what it needs")
    return found
