"""What clients are told of a monitor's security."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.brokers import Brokers, brokers_of
from aggregator.errors import StartError
from tidegauge.kafka_spec import Kafka, Login, Security
from tidegauge.secret_refs import SecretRef

LOGIN = Login("SCRAM-SHA-512", "gauge", SecretRef(env="KAFKA_PASSWORD"))


def test_plain_text_needs_nothing() -> None:
    assert brokers_of(Kafka("a:1"), {}) == Brokers("a:1")


def test_executors_get_the_files_contents_and_the_login(tmp_path: Path) -> None:
    for name in ("ca", "crt", "key"):
        (tmp_path / name).write_text(f"PEM of {name}")
    security = Security("SASL_SSL", *(str(tmp_path / name) for name in ("ca", "crt", "key")), login=LOGIN)
    brokers = brokers_of(Kafka("a:1", security=security), {"KAFKA_PASSWORD": 'a"b\\c'})
    assert brokers.client_options == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.pem": "PEM of ca",
        "ssl.certificate.pem": "PEM of crt",
        "ssl.key.pem": "PEM of key",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "gauge",
        "sasl.password": 'a"b\\c',
    }
    assert "PEM" not in repr(brokers)
    assert 'a"b' not in repr(brokers)


@pytest.mark.parametrize(
    ("security", "said"),
    [
        (
            Security("SSL", ca_file="/nowhere/ca.crt"),
            "/nowhere/ca.crt: No such file or directory: mount",
        ),
        (Security("SASL_SSL", login=LOGIN), "the environment variable KAFKA_PASSWORD is empty"),
    ],
)
def test_what_is_not_there_is_named(security: Security, said: str) -> None:
    with pytest.raises(StartError, match=said):
        brokers_of(Kafka("a:1", security=security), {})
