"""What the wheel will hold, and what it needs."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support.schemas import ROOT

NOT_INSTALLED = {"tests", "docs", "scripts", "manifests", "benchmarks", "build"}


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_directory_is_listed_and_every_listed_one_exists() -> None:
    found = set()
    for top in ROOT.iterdir():
        if not top.is_dir() or top.name in NOT_INSTALLED or top.name.startswith("."):
            continue
        holders = {path.parent for path in top.rglob("*.py") if "site-packages" not in path.parts}
        found |= {".".join(holder.relative_to(ROOT).parts) for holder in holders}
    assert found == set(pyproject()["tool"]["setuptools"]["packages"])


def test_the_kernel_says_that_it_is_typed() -> None:
    assert (ROOT / "tidegauge" / "py.typed").is_file()
    assert pyproject()["tool"]["setuptools"]["package-data"]["tidegauge"] == ["py.typed"]


def test_every_script_points_at_a_function() -> None:
    for target in pyproject()["project"]["scripts"].values():
        module, _, function = target.partition(":")
        assert callable(getattr(import_module(module), function))


def test_every_required_distribution_is_pinned() -> None:
    pinned = {_name(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    project = pyproject()["project"]
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    assert {_name(requirement) for requirement in wanted} - {"tidegauge"} <= pinned


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_the_licence_is_in_the_tree() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert Path(ROOT / pyproject()["project"]["readme"]).is_file()
