"""Monitor files that change while the aggregator runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from aggregator import reload
from aggregator.reload import MonitorFiles
from aggregator.settings import Settings, parse_settings
from tests.aggregator.doors import profile
from tests.support.examples import monitor_document


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reload, "CHECK_S", 0.0)
    monitors = tmp_path / "monitors"
    monitors.mkdir()
    (monitors / "doors.json").write_bytes(profile().dump())
    write(monitors, "doors")
    return monitors


def write(directory: Path, name: str, **spec: Any) -> None:
    document = monitor_document(**spec) | {"metadata": {"name": name}}
    (directory / f"{name}.yaml").write_text(yaml.safe_dump(document))


def watched(directory: Path) -> MonitorFiles:
    arguments = ["--monitor", str(directory), "--checkpoint", str(directory.parent / "checkpoint")]
    return MonitorFiles(arguments, parse_settings(arguments))


def test_files_that_stay_are_no_news(directory: Path) -> None:
    assert watched(directory).changed() is None


def test_a_new_monitor_in_the_directory_is_noticed_once(directory: Path) -> None:
    files = watched(directory)
    write(directory, "gates")
    settings = files.changed()
    assert settings is not None
    assert set(settings.catalogue.monitors) == {"doors", "gates"}
    assert files.changed() is None


def test_a_monitor_that_comes_while_the_others_are_read_is_noticed_at_the_next_look(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = watched(directory)
    write(directory, "gates")

    def parse_then_write(arguments: Sequence[str]) -> Settings:
        settings = parse_settings(arguments)
        write(directory, "halls")
        return settings

    monkeypatch.setattr(reload, "parse_settings", parse_then_write)
    first = files.changed()
    monkeypatch.undo()
    monkeypatch.setattr(reload, "CHECK_S", 0.0)
    second = files.changed()
    assert first is not None
    assert second is not None
    assert set(second.catalogue.monitors) - set(first.catalogue.monitors) == {"halls"}


def test_a_monitor_that_came_between_the_start_and_the_first_look_is_noticed(directory: Path) -> None:
    arguments = ["--monitor", str(directory), "--checkpoint", str(directory.parent / "checkpoint")]
    settings = parse_settings(arguments)
    write(directory, "gates")
    following = MonitorFiles(arguments, settings).changed()
    assert following is not None
    assert set(following.catalogue.monitors) == {"doors", "gates"}


def test_a_changed_monitor_is_noticed(directory: Path) -> None:
    files = watched(directory)
    write(directory, "doors", windows={"duration": "30s"})
    settings = files.changed()
    assert settings is not None
    assert settings.catalogue.monitors["doors"].windows.duration_ms == 30_000


def test_a_file_that_was_only_written_again_is_no_news(directory: Path) -> None:
    files = watched(directory)
    text = (directory / "doors.yaml").read_text()
    (directory / "doors.yaml").write_text(f"# the same\n{text}")
    assert files.changed() is None


@pytest.mark.parametrize("spec", [{"windows": {"duration": "soon"}}, {"aggregator": {"store": "sqlite:///other.db"}}])
def test_what_cannot_be_used_now_is_told_of_once_and_changes_nothing(
    directory: Path, caplog: pytest.LogCaptureFixture, spec: dict[str, Any]
) -> None:
    files = watched(directory)
    write(directory, "doors", **spec)
    with caplog.at_level(logging.ERROR, logger="aggregator"):
        assert files.changed() is None
        assert files.changed() is None
    (record,) = caplog.records
    assert record.getMessage().split()[0] in ("monitors_unusable", "restart_needed")
    write(directory, "doors", windows={"duration": "30s"})
    assert files.changed() is not None


def test_a_file_that_goes_away_changes_nothing(directory: Path) -> None:
    files = watched(directory)
    (directory / "doors.yaml").unlink()
    assert files.changed() is None
