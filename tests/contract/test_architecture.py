"""The tree tells the flow: layers, sizes and names that the architecture promises."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.schemas import ROOT

PACKAGES = ("tidegauge", "transformer", "aggregator", "localsystem", "loadtest", "cli")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

MEANINGLESS = {"utils", "util", "helpers", "helper", "common", "base", "misc", "shared", "lib", "tools"}
LONGEST = 350


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_point_the_way_the_contracts_say() -> None:
    # In a process of its own: grimp, beneath it, keeps a cache and logs.
    run = python("from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]


def test_the_import_contracts_cover_every_package() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(pyproject["tool"]["importlinter"]["root_packages"]) == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_longer_than_one_can_read(package: str) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in (ROOT / package).rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [str(path.relative_to(ROOT)) for path in MODULES if path.stem in MEANINGLESS] == []
    assert [str(path.parent.relative_to(ROOT)) for path in MODULES if path.parent.name in MEANINGLESS] == []


def test_no_top_level_package_shadows_the_standard_library() -> None:
    assert set(PACKAGES) & sys.stdlib_module_names == set()


def test_the_kernel_has_no_clock_no_chance_and_no_environment() -> None:
    forbidden = ("datetime.now", "time.time", "time.monotonic", "uuid4", "os.environ", "default_rng", "import random")
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in (ROOT / "tidegauge").rglob("*.py")
        for text in forbidden
        if text in path.read_text()
    ]
    assert found == []


def test_the_kernel_imports_no_framework_at_run_time() -> None:
    """Not even through something else: what an image with the kernel alone needs."""
    names = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "tidegauge").rglob("*.py")
        if path.name != "__init__.py"
    )
    run = python(f"import sys, {', '.join(names)}; print(*(name.partition('.')[0] for name in sys.modules))")
    loaded = set(run.stdout.split())
    assert "tidegauge" in loaded
    frameworks = {"kserve", "pyspark", "confluent_kafka", "pandas", "pyarrow", "sklearn", "scipy", "yaml", "typer"}
    assert loaded & frameworks == set()


def test_scripts_and_modules_are_found() -> None:
    """The tests above would pass on an empty tree."""
    assert len(MODULES) > 50
    assert Path(ROOT / "tidegauge" / "monitor.py") in MODULES
