"""A real broker for the commands that read topics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localsystem.system import LocalSystem
from tidegauge.kafka_spec import Topics


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with LocalSystem(tmp_path_factory.mktemp("system")) as system:
        system.prepare()
        broker = system.start_broker()
        broker.wait_until_ready()
        system.create_topics(broker, Topics())
        yield broker.bootstrap_servers
