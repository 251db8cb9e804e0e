from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from aggregator.session import spark_session
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    with spark_session(master="local[2]") as session:
        yield session


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> PostgresServer:
    """Running, with nothing in it."""
    postgres_server.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return postgres_server
