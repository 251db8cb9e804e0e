"""How Spark and our own client speak to the brokers of a monitor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aggregator.errors import StartError
from tidegauge.kafka_spec import Kafka, Login, Security
from tidegauge.secret_refs import MissingSecret

_MODULES: Final = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


@dataclass(frozen=True)
class Brokers:
    """client_options: librdkafka's. spark_options: of Spark's Kafka source. Both have secrets: they are not shown."""

    bootstrap_servers: str
    client_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    spark_options: Mapping[str, str] = field(default_factory=dict, repr=False)


def brokers_of(kafka: Kafka, environment: Mapping[str, str]) -> Brokers:
    """Reads files and secrets. Raises StartError for what is not there."""
    security = kafka.security
    try:
        return Brokers(
            kafka.bootstrap_servers,
            security.client_options(environment, _read),
            _spark_options(security, environment),
        )
    except MissingSecret as error:
        raise StartError(f"spec.kafka.security.sasl.password: {error}") from error
    except OSError as error:
        raise StartError(f"spec.kafka.security: {error.filename}: {error.strerror}: mount the file there") from error


def _spark_options(security: Security, environment: Mapping[str, str]) -> dict[str, str]:
    """The files' contents and not their names: executors on other machines do not have them."""
    if security.protocol == "PLAINTEXT":
        return {}
    options = {"security.protocol": security.protocol}
    if security.ca_file is not None:
        options["ssl.truststore.type"] = "PEM"
        options["ssl.truststore.certificates"] = _read(security.ca_file).decode()
    if security.certificate_file is not None and security.key_file is not None:
        options["ssl.keystore.type"] = "PEM"
        options["ssl.keystore.certificate.chain"] = _read(security.certificate_file).decode()
        options["ssl.keystore.key"] = _read(security.key_file).decode()
    if security.login is not None:
        options["sasl.mechanism"] = security.login.mechanism
        options["sasl.jaas.config"] = _jaas(security.login, environment)
    return {f"kafka.{name}": value for name, value in options.items()}


def _jaas(login: Login, environment: Mapping[str, str]) -> str:
    password = login.password.read_text(environment, _read)
    module = _MODULES[login.mechanism]
    return f'{module} required username="{_quoted(login.username)}" password="{_quoted(password)}";'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _read(path: str) -> bytes:
    return Path(path).read_bytes()
