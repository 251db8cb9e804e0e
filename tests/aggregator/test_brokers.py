"""What Spark's Kafka source is told of a monitor's security."""

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
    assert brokers.client_options["sasl.password"] == 'a"b\\c'
    assert brokers.spark_options == {
        "kafka.security.protocol": "SASL_SSL",
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.certificates": "PEM of ca",
        "kafka.ssl.keystore.type": "PEM",
        "kafka.ssl.keystore.certificate.chain": "PEM of crt",
        "kafka.ssl.keystore.key": "PEM of key",
        "kafka.sasl.mechanism": "SCRAM-SHA-512",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="gauge" password="a\\"b\\\\c";',
    }
    assert "PEM" not in repr(brokers)
    assert 'a"b' not in repr(brokers)


def test_a_login_alone() -> None:
    login = Login("PLAIN", "gauge", SecretRef(env="KAFKA_PASSWORD"))
    options = brokers_of(Kafka("a:1", security=Security("SASL_PLAINTEXT", login=login)), {"KAFKA_PASSWORD": "x"})
    assert options.spark_options["kafka.sasl.jaas.config"].startswith(
        "org.apache.kafka.common.security.plain.PlainLoginModule required"
    )


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
