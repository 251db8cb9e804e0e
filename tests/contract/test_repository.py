"""Nothing in the tree belongs to one machine only."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.schemas import ROOT

HOME_OF_SOMEBODY = re.compile(r"(?<![\w.-])/(?:home|Users|root)/\w+")
PRIVATE_INDEX = re.compile(r"--(?:extra-)?index-url|PIP_INDEX_URL|index-servers", re.IGNORECASE)


def tracked_texts() -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git working tree")
    names = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_text(encoding="utf-8", errors="replace") for name in names}


def found(pattern: re.Pattern[str], *, allowed: tuple[str, ...] = ()) -> list[str]:
    own = str(Path(__file__).relative_to(ROOT))
    return [
        f"{name}:{number}: {match[0]}"
        for name, text in tracked_texts().items()
        if name != own and name not in allowed
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(line))
    ]


def test_no_file_names_somebodys_home_directory() -> None:
    assert found(HOME_OF_SOMEBODY) == []


def test_no_file_names_a_package_index() -> None:
    assert found(PRIVATE_INDEX) == []


def test_no_tracked_file_is_large() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in tracked_texts()}
    assert {name: size for name, size in sizes.items() if size > 500_000} == {}
