from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from aggregator.session import spark_session


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    with spark_session(master="local[2]", connector={}) as session:
        yield session
