"""Jars are fetched whole or not at all, and once."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import pytest

from localsystem.errors import MachineProblem
from localsystem.jars import SPARK_VERSION, JarSet, cache_directory, directory_of, ensure_jars, is_whole
from localsystem.java import find_java
from localsystem.processes import Processes

THING = JarSet("org.example", "thing", "1.0", beside=(("org.example", "other", "2.0"),))


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "logs") as processes:
        yield processes


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of two modules on this machine, which Ivy is told to use."""
    root = tmp_path / "repository"
    for module, version in (("thing", "1.0"), ("other", "2.0")):
        directory = root / "org" / "example" / module / version
        directory.mkdir(parents=True)
        (directory / f"{module}-{version}.jar").write_bytes(b"jar of " + module.encode())
        (directory / f"{module}-{version}.pom").write_text(
            f'<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            f"<groupId>org.example</groupId><artifactId>{module}</artifactId><version>{version}</version></project>"
        )
    monkeypatch.setenv("DEFAULT_ARTIFACT_REPOSITORY", root.as_uri())
    return root


def fetch(processes: Processes, cache: Path) -> Path:
    return ensure_jars([THING], java=find_java(), processes=processes, cache=cache)[0]


@pytest.mark.usefixtures("repository")
def test_what_was_asked_for_is_fetched_and_nothing_else_is_left(processes: Processes, tmp_path: Path) -> None:
    directory = fetch(processes, tmp_path / "cache")

    assert {jar.name for jar in directory.glob("*.jar")} == {"thing-1.0.jar", "other-2.0.jar"}
    assert [path.name for path in (tmp_path / "cache" / "jars").iterdir()] == ["thing-1.0"]


def test_what_is_cached_is_not_fetched_again(processes: Processes, repository: Path, tmp_path: Path) -> None:
    first = fetch(processes, tmp_path / "cache")
    repository.rename(tmp_path / "gone")

    assert fetch(processes, tmp_path / "cache") == first


@pytest.mark.usefixtures("repository")
def test_a_cache_that_lost_a_jar_is_fetched_anew(processes: Processes, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (fetch(processes, cache) / "other-2.0.jar").unlink()
    assert not is_whole(THING, cache)

    fetch(processes, cache)

    assert is_whole(THING, cache)


def test_a_repository_out_of_reach_is_one_line_and_leaves_nothing(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFAULT_ARTIFACT_REPOSITORY", "http://127.0.0.1:1/")

    with pytest.raises(MachineProblem) as raised:
        fetch(processes, tmp_path / "cache")

    assert str(raised.value).startswith("cannot fetch the jars of thing-1.0: ")
    assert str(raised.value).endswith("is this machine online?")
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "cache" / "jars").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(MachineProblem, match=r"cannot keep jars in .*file.*set XDG_CACHE_HOME"):
        ensure_jars([THING], java=Path("java"), processes=processes, cache=tmp_path / "file")


def test_another_version_has_another_place(tmp_path: Path) -> None:
    assert directory_of(THING, tmp_path) != directory_of(JarSet("org.example", "thing", "1.1"), tmp_path)


def test_the_connector_is_of_the_installed_spark() -> None:
    assert importlib.metadata.version("pyspark") == SPARK_VERSION


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"XDG_CACHE_HOME": "/x"}, Path("/x")),
        ({}, Path.home() / ".cache"),
        ({"XDG_CACHE_HOME": "x"}, Path.home() / ".cache"),
    ],
    ids=["set", "not set", "relative, to be ignored"],
)
def test_the_cache_is_where_the_user_keeps_caches(environment: dict[str, str], place: Path) -> None:
    assert cache_directory(environment) == place / "tidegauge"
