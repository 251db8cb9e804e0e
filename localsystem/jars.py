"""
The jars of the broker and of Spark's Kafka connector, fetched once into the user's cache directory.

Fetched by the Ivy that PySpark carries, so nothing but Java is needed. Where from is the machine's business: Ivy's own
default repository, or what `~/.ivy2/ivysettings.xml` says, or DEFAULT_ARTIFACT_REPOSITORY, the variable by which Spark
itself is pointed at another one; proxies and certificates as Java is told of them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

from localsystem.errors import MachineProblem, PartFailed
from localsystem.processes import Process, Processes

KAFKA_VERSION: Final = "4.4.0"
SPARK_VERSION: Final = "4.2.0"
"""Of PySpark and of its Kafka connector, which must be the same; pyproject.toml pins PySpark to it."""
SCALA_VERSION: Final = "2.13"

_MANIFEST: Final = "complete.json"
_FETCH_WITHIN_S: Final = 300.0


@dataclass(frozen=True)
class JarSet:
    """A module with all it needs at run time."""

    organisation: str
    module: str
    version: str
    beside: tuple[tuple[str, str, str], ...] = ()
    """Further (organisation, module, version)."""
    without: tuple[tuple[str, str], ...] = ()
    """(organisation, module or "*") that the class path has already."""

    @property
    def name(self) -> str:
        return f"{self.module}-{self.version}"


BROKER_JARS: Final = JarSet(
    "org.apache.kafka",
    f"kafka_{SCALA_VERSION}",
    KAFKA_VERSION,
    # Without an implementation of its logging interface the broker fails without a word.
    beside=(("org.slf4j", "slf4j-simple", "1.7.36"),),
)

CONNECTOR_JARS: Final = JarSet(
    "org.apache.spark",
    f"spark-sql-kafka-0-10_{SCALA_VERSION}",
    SPARK_VERSION,
    # Spark's own class path has these, in the versions that it was tested with.
    without=(
        ("org.apache.spark", f"spark-tags_{SCALA_VERSION}"),
        ("org.apache.hadoop", "*"),
        ("org.scala-lang", "*"),
        ("org.scala-lang.modules", "*"),
        ("org.slf4j", "*"),
        ("org.lz4", "*"),
        ("at.yawk.lz4", "*"),
        ("org.xerial.snappy", "*"),
        ("com.github.luben", "*"),
        ("com.google.code.findbugs", "*"),
    ),
)


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    root = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "tidegauge"


def ensure_jars(jar_sets: Sequence[JarSet], *, java: Path, processes: Processes, cache: Path) -> list[Path]:
    """
    One directory of jars for each set, from the cache where it is whole, else fetched, all at the same time.

    Raises MachineProblem when the cache cannot be written or the jars cannot be fetched.
    """
    try:
        (cache / "jars").mkdir(parents=True, exist_ok=True)
        fetches: list[_Fetch] = []
        try:
            for jar_set in jar_sets:
                if not is_whole(jar_set, cache):
                    fetches.append(_Fetch(jar_set, java=java, processes=processes, cache=cache))
            for fetch in fetches:
                fetch.finish()
        finally:
            for fetch in fetches:
                fetch.clean_up()
    except OSError as error:
        raise MachineProblem(f"cannot keep jars in {cache}: {error.strerror}; set XDG_CACHE_HOME") from error
    return [directory_of(jar_set, cache) for jar_set in jar_sets]


def directory_of(jar_set: JarSet, cache: Path) -> Path:
    return cache / "jars" / jar_set.name


def is_whole(jar_set: JarSet, cache: Path) -> bool:
    """Whether the cache holds what this set asks for, every jar in the size in which it was fetched."""
    directory = directory_of(jar_set, cache)
    try:
        manifest = json.loads((directory / _MANIFEST).read_bytes())
        sizes = manifest["sizes"]
        return manifest["asked"] == _module_file(jar_set) and all(
            (directory / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


class _Fetch:
    """One run of Ivy into a directory of its own, moved into place as a whole."""

    def __init__(self, jar_set: JarSet, *, java: Path, processes: Processes, cache: Path) -> None:
        self._jar_set, self._processes, self._cache = jar_set, processes, cache
        self._place = directory_of(jar_set, cache)
        # In the cache itself, so that the move is a rename and not a copy.
        self._work = Path(tempfile.mkdtemp(prefix=f".{jar_set.name}-", dir=cache / "jars"))
        self._process = self._start(java)

    def _start(self, java: Path) -> Process:
        module = self._work / "ivy.xml"
        module.write_text(_module_file(self._jar_set))
        command: list[str | Path] = [java, "-jar", _ivy_jar(), "-cache", self._work / "ivy"]
        command += _settings(self._work, os.environ)
        command += ["-ivy", module, "-confs", "default", "-types", "jar", "bundle"]
        command += ["-retrieve", str(self._work / "lib" / "[artifact]-[revision].[ext]")]
        return self._processes.start(f"fetch-{self._jar_set.module}", command, cwd=self._work)

    def finish(self) -> None:
        name = self._jar_set.name
        try:
            code = self._process.wait_for_exit(within_s=_FETCH_WITHIN_S)
        except PartFailed as error:
            raise MachineProblem(f"cannot fetch the jars of {name}: {error}; is this machine online?") from error
        jars = sorted((self._work / "lib").glob("*.jar"))
        if code != 0 or not jars:
            reason = self._process.failure(f"ended with exit code {code}")
            raise MachineProblem(f"cannot fetch the jars of {name}: {reason}; is this machine online?")
        sizes = {jar.name: jar.stat().st_size for jar in jars}
        manifest = {"asked": _module_file(self._jar_set), "sizes": sizes}
        (self._work / "lib" / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        self._move_into_place()

    def _move_into_place(self) -> None:
        if self._place.exists() and not is_whole(self._jar_set, self._cache):
            shutil.rmtree(self._place)
        try:
            (self._work / "lib").rename(self._place)
        except OSError:
            if not is_whole(self._jar_set, self._cache):  # if it is, another run was quicker, which is as good
                raise

    def clean_up(self) -> None:
        self._processes.stop(self._process)
        shutil.rmtree(self._work, ignore_errors=True)


def _ivy_jar() -> Path:
    found = sorted((pyspark_home() / "jars").glob("ivy-*.jar"))
    if not found:
        raise MachineProblem("PySpark, which carries Ivy, is not installed: pip install 'tidegauge[local]'")
    return found[0]


def pyspark_home() -> Path:
    """Where its jars and scripts are. Raises MachineProblem without PySpark."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise MachineProblem("PySpark is not installed: pip install 'tidegauge[local]'")
    return Path(spec.origin).parent


def _settings(work: Path, environment: Mapping[str, str]) -> list[str | Path]:
    repository = environment.get("DEFAULT_ARTIFACT_REPOSITORY")
    own = Path.home() / ".ivy2" / "ivysettings.xml"
    if repository:
        own = work / "ivysettings.xml"
        own.write_text(_SETTINGS.format(root=quoteattr(repository)))
    return ["-settings", own] if own.exists() else []


_SETTINGS: Final = """<ivysettings>
  <settings defaultResolver="configured"/>
  <resolvers><ibiblio name="configured" m2compatible="true" root={root}/></resolvers>
</ivysettings>
"""


def _module_file(jar_set: JarSet) -> str:
    wanted = [(jar_set.organisation, jar_set.module, jar_set.version), *jar_set.beside]
    dependencies = "".join(
        f"<dependency org={quoteattr(organisation)} name={quoteattr(module)} rev={quoteattr(version)}"
        ' conf="default->default"/>'
        for organisation, module, version in wanted
    )
    excludes = "".join(
        f"<exclude org={quoteattr(organisation)} module={quoteattr(module)}/>"
        for organisation, module in jar_set.without
    )
    return f"""<ivy-module version="2.0">
  <info organisation="tidegauge" module="local"/>
  <dependencies>{dependencies}{excludes}</dependencies>
</ivy-module>
"""
