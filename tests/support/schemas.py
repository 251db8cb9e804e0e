"""The JSON Schemas that the project publishes, as validators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "schemas"
DATA = ROOT / "tests" / "data"


def schema(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text())
    return document


def validate(name: str, document: object) -> None:
    """Raises jsonschema.ValidationError. name: of the schema's file, without .json."""
    Draft202012Validator(schema(name)).validate(document)
