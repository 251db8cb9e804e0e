"""
A broker that lets in only who has a certificate of its authority and the password: the transformer writes to it, the
aggregator reads and writes, the command line reads, all from one monitor file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from localsystem.ports import HOST, free_ports
from localsystem.system import LocalSystem
from tests.support.certificates import Authority
from tests.support.waiting import wait_until
from tidegauge.baseline import BaselineProfile
from tidegauge.kafka_spec import Topics

pytestmark = pytest.mark.e2e

USER, PASSWORD = "gauge", 'hunter2 "and\\more'
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
WITHIN_S = 60.0
REQUESTS, ROWS = 20, 15


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    with LocalSystem(tmp_path_factory.mktemp("system")) as system:
        system.prepare()
        yield system


@pytest.fixture(scope="module")
def kafka(system: LocalSystem) -> dict[str, Any]:
    """The monitor's section of a broker with one secured listener; what is plain is for the broker itself."""
    authority = Authority(system.directory)
    certificate, key = authority.issue("broker")
    both = system.directory / "broker.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    port = free_ports(1)[0]
    broker = system.start_broker(
        more_listeners={"SASL_SSL": port},
        more_properties={
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": SCRAM,
            "listener.name.sasl_ssl.ssl.keystore.type": "PEM",
            "listener.name.sasl_ssl.ssl.keystore.location": str(both),
            "listener.name.sasl_ssl.ssl.truststore.type": "PEM",
            "listener.name.sasl_ssl.ssl.truststore.location": str(authority.file),
            "listener.name.sasl_ssl.ssl.client.auth": "required",
        },
    )
    broker.wait_until_ready()
    system.create_topics(broker, Topics())
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    upsertion = UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.alter_user_scram_credentials([upsertion])[USER].result(WITHIN_S)
    ours, our_key = authority.issue("gauge")
    secret = system.directory / "password"
    secret.write_text(PASSWORD + "\n")
    return {
        "bootstrapServers": f"{HOST}:{port}",
        "security": {
            "protocol": "SASL_SSL",
            "caFile": str(authority.file),
            "certificateFile": str(ours),
            "keyFile": str(our_key),
            "sasl": {"username": USER, "password": {"file": str(secret)}},
        },
    }


@pytest.fixture(scope="module")
def monitor_file(system: LocalSystem, kafka: dict[str, Any]) -> Path:
    profile = BaselineProfile.fit({f"f{n}": np.random.default_rng(n).normal(size=2000) for n in range(1, 10)})
    (system.directory / "baseline.json").write_bytes(profile.dump())
    document = {
        "apiVersion": "tidegauge.io/v1alpha1",
        "kind": "ModelMonitor",
        "metadata": {"name": "sums"},
        "spec": {
            "model": {"name": "sums"},
            "baseline": {"file": "baseline.json"},
            "kafka": kafka,
            "windows": {"duration": "1s", "watermark": "500ms"},
        },
    }
    path = system.directory / "monitor.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_one_section_lets_everybody_in(system: LocalSystem, kafka: dict[str, Any], monitor_file: Path) -> None:
    predictor = system.start_predictor("sums")
    transformer = system.start_transformer(monitor_file=monitor_file, model="sums", predictor=predictor)
    aggregator = system.start_aggregator(monitor_file=monitor_file)
    predictor.wait_until_ready()
    transformer.wait_until_ready()
    with httpx.Client(base_url=f"http://{transformer.address}") as client:
        for number in range(REQUESTS):
            rows = np.random.default_rng(number).normal(size=(ROWS, 9)).tolist()
            assert client.post("/v1/models/sums:predict", json={"instances": rows}).status_code == 200
    aggregator.wait_until_ready()
    store = system.directory / "tidegauge.db"

    def requests_reported() -> int:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
            found = connection.execute("SELECT sum(requests) FROM reports").fetchone()[0]
        connection.close()
        return found or 0

    wait_until(lambda: requests_reported() == REQUESTS, within_s=WITHIN_S, what="windows of all requests")
    assert written_to("tidegauge.statistics", kafka)
    arguments = ["baseline", "fit", "--from-topic", "--monitor", str(monitor_file), "--since", "1h"]
    system.run_command_line("fit", [*arguments, "--output", str(system.directory / "again.json")])
    assert (system.directory / "again.json").exists()
    logs = b"".join(log.read_bytes() for log in (system.directory / "logs").iterdir())
    assert b"hunter2" not in logs
    assert b"PRIVATE KEY" not in logs


def written_to(topic: str, kafka: dict[str, Any]) -> bool:
    security = kafka["security"]
    consumer = Consumer(
        {
            "bootstrap.servers": kafka["bootstrapServers"],
            "group.id": "t",
            "auto.offset.reset": "earliest",
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": security["caFile"],
            "ssl.certificate.location": security["certificateFile"],
            "ssl.key.location": security["keyFile"],
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
        }
    )
    consumer.subscribe([topic])
    message = consumer.poll(WITHIN_S)
    consumer.close()
    return message is not None and message.error() is None
