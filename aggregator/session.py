"""The Spark session: finds Java, starts small and fast, leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pyspark.sql import SparkSession

from aggregator.errors import StartError

MINIMUM_JAVA: Final = 17

JVM_OPTIONS: Final = (
    "-Duser.timezone=UTC -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djdk.lang.Process.launchMechanism=VFORK"
)
"""
The JVM moves bytes and keeps state; the arithmetic is in Python. So the quick compiler and a collector without threads
of its own: a quarter less CPU time for small micro-batches, and no slower through a backlog. Hadoop without its native
library runs `chmod` on each file of a checkpoint on a local disk: by vfork it starts sooner.
"""

LOG: Final = Path(__file__).with_name("log4j2.properties").as_uri()

STOP_S: Final = 8.0
"""How long the JVM may take to end before it is killed."""


@contextlib.contextmanager
def spark_session(*, master: str, jars: Sequence[Path] = ()) -> Iterator[SparkSession]:
    """
    jars: of further parts of Spark. Raises StartError when there is no Java. On leaving, the JVM has ended.
    """
    check_java()
    # The setting spark.pyspark.python does not reach the workers of a stateful operator: they would run `python3`.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    if master.startswith("local["):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    with tempfile.TemporaryDirectory(prefix="tidegauge-", ignore_cleanup_errors=True) as scratch:
        builder = SparkSession.builder.appName("tidegauge").master(master)
        for name, value in _configuration(scratch).items():
            builder = builder.config(name, value)
        if jars:
            builder = builder.config("spark.jars", ",".join(map(str, jars)))
        spark = builder.getOrCreate()
        try:
            yield spark
        finally:
            _stop(spark)


def check_java() -> None:
    """Raises StartError unless Spark will find a Java that is new enough."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    advice = f"install a Java runtime, version {MINIMUM_JAVA} or newer, or set JAVA_HOME to one"
    if java is None:
        raise StartError(f"no Java found: {advice}")
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        raise StartError(f"{java} does not run: {advice}") from None
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    if version is None or int(version[1]) < MINIMUM_JAVA:
        raise StartError(f"{java} is version {version[1] if version else 'unknown'}: {advice}")


def _configuration(scratch: str) -> dict[str, str]:
    state = "org.apache.spark.sql.execution.streaming.state"
    return {
        # A killed JVM leaves its native libraries where java.io.tmpdir says.
        "spark.driver.extraJavaOptions": f"{JVM_OPTIONS} -Djava.io.tmpdir={scratch} -Dlog4j2.configurationFile={LOG}",
        "spark.local.dir": scratch,
        "spark.sql.warehouse.dir": str(Path(scratch, "warehouse")),
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # What is shuffled is a few summaries a micro-batch: more partitions are more tasks, not more speed.
        "spark.sql.shuffle.partitions": "2",
        # Summaries are packed numbers: they would be a tenth smaller.
        "spark.shuffle.compress": "false",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.streaming.stateStore.providerClass": f"{state}.RocksDBStateStoreProvider",
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    }


def _stop(spark: SparkSession) -> None:
    """Spark leaves its JVM to end when our standard input to it closes, some time after us; wait for it instead."""
    gateway = spark.sparkContext._gateway
    spark.stop()
    process: subprocess.Popen[bytes] | None = getattr(gateway, "proc", None)
    if process is None or process.stdin is None:
        return
    process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
