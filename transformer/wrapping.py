"""A user's own class, named module:Class or FILE.py:Class on the command line, imported."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from tidegauge.errors import InvalidExtension
from tidegauge.extensions import load_extension
from transformer.arguments import InvalidSettings


def load_class(name: str) -> type[Any]:
    """Raises InvalidSettings."""
    path, colon, attribute = name.rpartition(":")
    if not colon or not attribute:
        raise InvalidSettings(f"--wrap {name}: expected FILE.py:Class or module:Class")
    found = _from_file(Path(path), attribute) if path.endswith(".py") else _from_module(name)
    if not isinstance(found, type):
        raise InvalidSettings(f"--wrap {name}: expected a class, found {type(found).__name__}")
    return found


def _from_module(name: str) -> Any:
    try:
        return load_extension(name)
    except InvalidExtension as error:
        raise InvalidSettings(f"--wrap {one_line(error)}") from error


def _from_file(path: Path, attribute: str) -> Any:
    # Not under its own name, since "transformer.py" is what many are called, and so is this package.
    name = f"wrapped_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InvalidSettings(f"--wrap {path}: no such file: give the path of a Python file, FILE.py:Class")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # So that it can import what lies beside it, as when it is run; behind everything else, so that it hides nothing.
    sys.path.append(str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InvalidSettings(f"--wrap {path}: importing it failed: {one_line(error)}") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise InvalidSettings(f"--wrap {path}: it has no {attribute}") from error


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InvalidExtension) else f"{type(error).__name__}: {text}"
