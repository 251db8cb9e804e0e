"""The Spark session: finds Java, starts small and fast, leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pyspark
from pyspark.sql import SparkSession

from aggregator.errors import StartError

MINIMUM_JAVA: Final = 17

CONNECTOR: Final = "spark-sql-kafka-0-10_2.13"
JARS: Final = (CONNECTOR, "spark-token-provider-kafka-0-10_2.13", "kafka-clients", "commons-pool2")
"""All that the connector needs beyond Spark itself."""

JVM_OPTIONS: Final = "-Duser.timezone=UTC -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
"""
The JVM moves bytes and keeps state; the arithmetic is in Python. So the quick compiler and a collector without threads
of its own: a quarter less CPU time for small micro-batches, and no slower through a backlog.
"""

LOG: Final = Path(__file__).with_name("log4j2.properties").as_uri()

STOP_S: Final = 8.0
"""How long the JVM may take to end before it is killed."""


@contextlib.contextmanager
def spark_session(*, master: str, connector: Mapping[str, str]) -> Iterator[SparkSession]:
    """
    connector: as kafka_connector gives it; empty where no Kafka is read. Raises StartError when there is no Java. On
    leaving, the JVM has ended.
    """
    check_java()
    # The setting spark.pyspark.python does not reach the workers of a stateful operator: they would run `python3`.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    if master.startswith("local["):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    with tempfile.TemporaryDirectory(prefix="tidegauge-", ignore_cleanup_errors=True) as scratch:
        builder = SparkSession.builder.appName("tidegauge").master(master)
        for name, value in {**_configuration(scratch), **connector}.items():
            builder = builder.config(name, value)
        spark = builder.getOrCreate()
        try:
            yield spark
        finally:
            _stop(spark)


def kafka_connector(jars_dir: Path | None) -> dict[str, str]:
    """
    Settings that give Spark its Kafka connector: the jars in the directory or, for None, fetched by Spark at its start,
    which takes half a minute. Raises StartError when the directory lacks one.
    """
    if jars_dir is None:
        return {"spark.jars.packages": f"org.apache.spark:{CONNECTOR}:{pyspark.__version__}"}
    found = {name: sorted(jars_dir.glob(f"{name}-[0-9]*.jar")) for name in JARS}
    missing = [name for name, jars in found.items() if not jars]
    if missing:
        raise StartError(f"--jars-dir {jars_dir}: no jar of {', '.join(missing)}; needed: {', '.join(JARS)}")
    connector = jars_dir / f"{CONNECTOR}-{pyspark.__version__}.jar"
    if not connector.exists():
        raise StartError(
            f"--jars-dir {jars_dir}: {connector.name} is missing, which pyspark {pyspark.__version__} needs"
        )
    return {"spark.jars": ",".join([str(connector), *(str(found[name][-1]) for name in JARS if name != CONNECTOR)])}


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
        "spark.sql.adaptive.enabled": "false",
        # Batches that stay in the processor's caches: a fifth less of the JVM's time than with five times as many.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
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
