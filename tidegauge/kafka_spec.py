"""The monitor's section `kafka`: the brokers, how they are spoken to, and the topics."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tidegauge.errors import InvalidMonitor
from tidegauge.secret_refs import SecretRef, parse_secret_ref
from tidegauge.sections import Section

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
_ABSOLUTE: Final = re.compile(r"/.*")


@dataclass(frozen=True)
class Topic:
    name: str
    partitions: int = 1
    replication: int = 1


@dataclass(frozen=True)
class Topics:
    inference: Topic = Topic("tidegauge.inference", partitions=4)
    outliers: Topic = Topic("tidegauge.outliers")
    statistics: Topic = Topic("tidegauge.statistics")
    drift: Topic = Topic("tidegauge.drift")
    alerts: Topic = Topic("tidegauge.alerts")
    dead_letter: Topic = Topic("tidegauge.dead-letter")


@dataclass(frozen=True)
class Login:
    """SASL. mechanism: one of MECHANISMS."""

    mechanism: str
    username: str
    password: SecretRef


@dataclass(frozen=True)
class Security:
    """protocol: one of PROTOCOLS. Files are PEM; without ca_file the system's authorities are trusted."""

    protocol: str = "PLAINTEXT"
    ca_file: str | None = None
    certificate_file: str | None = None
    """Ours, with its chain, where brokers ask for one."""
    key_file: str | None = None
    """Its private key, PKCS #8 and not encrypted."""
    login: Login | None = None

    def client_options(self, environment: Mapping[str, str], read_file: Callable[[str], bytes]) -> dict[str, str]:
        """
        librdkafka's names and values, none for PLAINTEXT. read_file may raise OSError. Raises MissingSecret for a
        password that is not where it should be.
        """
        if self.protocol == "PLAINTEXT":
            return {}
        options = {
            "security.protocol": self.protocol,
            "ssl.ca.location": self.ca_file,
            "ssl.certificate.location": self.certificate_file,
            "ssl.key.location": self.key_file,
        }
        if self.login is not None:
            options["sasl.mechanism"] = self.login.mechanism
            options["sasl.username"] = self.login.username
            options["sasl.password"] = self.login.password.read_text(environment, read_file)
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True)
class Kafka:
    bootstrap_servers: str
    topics: Topics = field(default_factory=Topics)
    security: Security = field(default_factory=Security)


_TOPIC_FIELDS: Final = {
    "inference": "inference",
    "outliers": "outliers",
    "statistics": "statistics",
    "drift": "drift",
    "alerts": "alerts",
    "deadLetter": "dead_letter",
}


def parse_kafka(section: Section) -> Kafka:
    section.only("bootstrapServers", "topics", "security")
    topics = section.section("topics", {})
    topics.only(*_TOPIC_FIELDS)
    defaults = Topics()
    chosen = {
        attribute: _topic(topics.section(key, {}), getattr(defaults, attribute))
        for key, attribute in _TOPIC_FIELDS.items()
    }
    names = [topic.name for topic in chosen.values()]
    if len(set(names)) < len(names):
        raise InvalidMonitor(topics.path, "topics with different names", names)
    return Kafka(section.text("bootstrapServers"), Topics(**chosen), _security(section.section("security", {})))


def _topic(section: Section, default: Topic) -> Topic:
    section.only("name", "partitions", "replication")
    return Topic(
        name=section.matching("name", re.compile(r"[A-Za-z0-9._-]{1,249}"), "a Kafka topic name", default.name),
        partitions=section.integer("partitions", default.partitions, low=1),
        replication=section.integer("replication", default.replication, low=1),
    )


def _security(section: Section) -> Security:
    section.only("protocol", "caFile", "certificateFile", "keyFile", "sasl")
    protocol = section.choice("protocol", PROTOCOLS)
    _only_with(section, "SSL" in protocol, ("caFile", "certificateFile", "keyFile"), "SSL or SASL_SSL")
    _only_with(section, "SASL" in protocol, ("sasl",), "SASL_SSL or SASL_PLAINTEXT")
    for here, there in (("certificateFile", "keyFile"), ("keyFile", "certificateFile")):
        if section.has(here) and not section.has(there):
            raise InvalidMonitor(section.at(there), f"the other half of {here}", None)
    return Security(
        protocol=protocol,
        ca_file=_file(section, "caFile"),
        certificate_file=_file(section, "certificateFile"),
        key_file=_file(section, "keyFile"),
        login=_login(section.section("sasl", {})) if "SASL" in protocol else None,
    )


def _only_with(section: Section, fitting: bool, keys: tuple[str, ...], protocols: str) -> None:
    """A setting without effect would look like protection."""
    for key in keys:
        if section.has(key) and not fitting:
            raise InvalidMonitor(section.at(key), f"protocol {protocols} beside it", section.get("protocol"))


def _file(section: Section, key: str) -> str | None:
    return section.matching(key, _ABSOLUTE, "an absolute path") if section.has(key) else None


def _login(section: Section) -> Login:
    section.only("mechanism", "username", "password")
    return Login(
        mechanism=section.choice("mechanism", MECHANISMS),
        username=section.text("username"),
        password=parse_secret_ref(section.at("password"), section.get("password")),
    )
