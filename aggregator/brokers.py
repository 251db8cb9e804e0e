"""How clients speak to the brokers of a monitor."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aggregator.errors import StartError
from tidegauge.kafka_spec import Kafka
from tidegauge.secret_refs import MissingSecret

_FILES: Final = {
    "ssl.ca.location": "ssl.ca.pem",
    "ssl.certificate.location": "ssl.certificate.pem",
    "ssl.key.location": "ssl.key.pem",
}
"""Options that name a file, and those that take its content: executors on other machines do not have the files."""


PATIENCE_S: Final = 120.0
"""How long a broker that does not answer, or does not send what it said it had, is waited for: it may be restarted."""

silent: Final = logging.getLogger("aggregator.librdkafka")
silent.addHandler(logging.NullHandler())
silent.propagate = False
"""
The logger of all clients: librdkafka would write each refused connection to stderr during an outage, many a second.
What is wrong is told by who waits for it.
"""


@dataclass(frozen=True)
class Brokers:
    """client_options: librdkafka's. They have secrets: they are not shown."""

    bootstrap_servers: str
    client_options: Mapping[str, str] = field(default_factory=dict, repr=False)


def brokers_of(kafka: Kafka, environment: Mapping[str, str]) -> Brokers:
    """Reads files and secrets. Raises StartError for what is not there."""
    try:
        options = kafka.security.client_options(environment, _read)
        return Brokers(
            kafka.bootstrap_servers,
            {
                _FILES.get(name, name): _read(value).decode() if name in _FILES else value
                for name, value in options.items()
            },
        )
    except MissingSecret as error:
        raise StartError(f"spec.kafka.security.sasl.password: {error}") from error
    except OSError as error:
        raise StartError(f"spec.kafka.security: {error.filename}: {error.strerror}: mount the file there") from error


def _read(path: str) -> bytes:
    return Path(path).read_bytes()
