"""How brokers are spoken to, as the monitor file says it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.examples import monitor_document
from tidegauge.errors import InvalidMonitor
from tidegauge.kafka_spec import Login, Security
from tidegauge.monitor import parse_monitor
from tidegauge.secret_refs import SecretRef

LOGIN = {"username": "gauge", "password": "KAFKA_PASSWORD"}


def security(**section: Any) -> Security:
    return parse_monitor(monitor_document(kafka={"bootstrapServers": "a:1", "security": section})).kafka.security


def no_file(path: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", path)


def options(chosen: Security) -> dict[str, str]:
    return chosen.client_options({"KAFKA_PASSWORD": "hunter2"}, no_file)


def test_without_the_section_brokers_are_spoken_to_in_plain_text() -> None:
    assert parse_monitor(monitor_document()).kafka.security == Security() == security()
    assert options(security()) == {}


def test_a_client_is_told_the_files_and_the_login() -> None:
    chosen = security(protocol="SASL_SSL", caFile="/ca", certificateFile="/crt", keyFile="/key", sasl=LOGIN)
    assert chosen.login == Login("SCRAM-SHA-512", "gauge", SecretRef(env="KAFKA_PASSWORD"))
    assert options(chosen) == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "/ca",
        "ssl.certificate.location": "/crt",
        "ssl.key.location": "/key",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "gauge",
        "sasl.password": "hunter2",
    }
    assert options(security(protocol="SSL")) == {"security.protocol": "SSL"}


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({"protocol": "TLS"}, "protocol"),
        ({"caFile": "/ca"}, "caFile"),
        ({"protocol": "SASL_PLAINTEXT", "sasl": LOGIN, "keyFile": "/key"}, "keyFile"),
        ({"protocol": "SSL", "caFile": "ca"}, "caFile"),
        ({"protocol": "SSL", "keyFile": "/key"}, "certificateFile"),
        ({"protocol": "SSL", "certificateFile": "/crt"}, "keyFile"),
        ({"protocol": "SASL_SSL"}, "sasl.username"),
        ({"protocol": "SSL", "sasl": LOGIN}, "sasl"),
        ({"protocol": "SASL_SSL", "sasl": {"username": "a"}}, "sasl.password"),
        ({"protocol": "SASL_SSL", "sasl": LOGIN | {"mechanism": "GSSAPI"}}, "sasl.mechanism"),
        ({"password": "x"}, "password"),
    ],
)
def test_what_cannot_be_is_refused_by_its_path(section: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidMonitor) as refused:
        security(**section)
    assert f"spec.kafka.security.{path}:" in str(refused.value)
