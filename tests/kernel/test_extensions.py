"""A user's own classes by name, and what is said when they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegauge.errors import InvalidExtension
from tidegauge.extensions import is_extension, load_extension


def test_a_class_is_found_by_its_module_and_name() -> None:
    assert load_extension("pathlib:Path", methods=("exists",)) is Path


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("pathlib", "expected module:Name"),
        ("os.path:join:x", "expected module:Name"),
        ("../evil:Name", "expected module:Name"),
        ("no_such_module:Name", "cannot import no_such_module.*install it, or set PYTHONPATH"),
        ("pathlib:NoSuchClass", "pathlib has no NoSuchClass"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(path: str, message: str) -> None:
    with pytest.raises(InvalidExtension, match=message) as refusal:
        load_extension(path)
    assert "\n" not in str(refusal.value)


def test_a_class_without_what_it_needs_is_refused_by_the_methods_it_lacks() -> None:
    with pytest.raises(InvalidExtension, match=r"pathlib:Path has no fit, scores: see docs/extending\.md"):
        load_extension("pathlib:Path", methods=("exists", "fit", "scores"))


def test_a_module_that_fails_while_it_is_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_extension.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidExtension, match="importing failing_extension failed: ZeroDivisionError"):
        load_extension("failing_extension:Name")


@pytest.mark.parametrize(("name", "own"), [("tail", False), ("mahalanobis", False), ("mine.detectors:Spread", True)])
def test_built_in_names_are_no_extensions(name: str, own: bool) -> None:
    assert is_extension(name) is own
