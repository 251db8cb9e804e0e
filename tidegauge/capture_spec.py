"""The monitor's section `capture`: which requests get a record, and what of them leaves the process in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from tidegauge.errors import InvalidMonitor
from tidegauge.secret_refs import SecretRef, parse_secret_ref
from tidegauge.sections import Section

PAYLOADS: Final = ("features", "scores", "raw")

RedactionKind: TypeAlias = Literal["drop", "hash", "bucket"]

MOST_HEADERS: Final = 32
MOST_LABELS: Final = 32
LABEL_CHARACTERS: Final = 256

LARGEST_RECORD_BYTES: Final = 3_990_000
"""A little less than what the transformer lets Kafka's client send, where the key counts too."""
SMALLEST_RECORD_BYTES: Final = 10_000
LARGEST_BODY_BYTES: Final = 1 << 20

_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,100}")
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_CREDENTIALS: Final = re.compile(
    r"auth|cookie|token|secret|passw|credential|session|signature|jwt|assertion|api-?_?key|access-?_?key|client-cert"
)
"""Anywhere in a header's name. Better one harmless header too many refused than one key in a topic."""


@dataclass(frozen=True)
class Redaction:
    """drop: as if missing. hash: HMAC-SHA-256 with the key. bucket: the middle of the baseline's bin it falls in."""

    kind: RedactionKind
    key: SecretRef | None = None


@dataclass(frozen=True)
class Capture:
    sample_rate: float = 1.0
    """Probability that a request without an outlier gets a record; those with one always do."""
    payload: str = "features"
    """features: values and predictions. scores: neither. raw: also the bytes of request and answer."""
    headers: tuple[str, ...] = ()
    """Of the request, in lower case."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """In every record."""
    redact: Mapping[str, Redaction] = field(default_factory=dict)
    """By feature."""
    max_record_bytes: int = LARGEST_RECORD_BYTES
    max_body_bytes: int = 64 << 10
    """With the payload `raw`: so much of each body is kept."""

    def why_withheld(self, feature: str) -> str | None:
        """Why windows cannot be told the feature's values; None where they can."""
        if self.payload == "scores":
            return "capture.payload is scores: values do not leave the transformer"
        redaction = self.redact.get(feature)
        if redaction is None or redaction.kind == "bucket":
            return None
        return f"redacted: capture.redact has {redaction.kind}"

    @property
    def why_no_predictions(self) -> str | None:
        return (
            "capture.payload is scores: predictions do not leave the transformer" if self.payload == "scores" else None
        )


def parse_capture(section: Section) -> Capture:
    section.only("sampleRate", "payload", "headers", "labels", "redact", "maxRecordBytes", "maxBodyBytes")
    default = Capture()
    payload, redact = section.choice("payload", PAYLOADS), _redactions(section)
    if payload == "raw" and redact:
        expected = "nothing beside payload: raw, where values stand in bodies that nobody can redact for sure"
        raise InvalidMonitor(section.at("redact"), expected, sorted(redact))
    return Capture(
        sample_rate=section.number("sampleRate", default.sample_rate, above=0.0, below=1.0 + 1e-9),
        payload=payload,
        headers=_headers(section),
        labels=_labels(section),
        redact=redact,
        max_record_bytes=_bounded(section, "maxRecordBytes", SMALLEST_RECORD_BYTES, LARGEST_RECORD_BYTES),
        max_body_bytes=_bounded(section, "maxBodyBytes", 1, LARGEST_BODY_BYTES, default.max_body_bytes),
    )


def _bounded(section: Section, key: str, low: int, high: int, default: int | None = None) -> int:
    value = section.integer(key, high if default is None else default, low=low)
    if value > high:
        raise InvalidMonitor(section.at(key), f"at most {high}", value)
    return value


def _headers(section: Section) -> tuple[str, ...]:
    names, path = section.get("headers", []), section.at("headers")
    if not isinstance(names, list) or len(names) > MOST_HEADERS or not all(isinstance(name, str) for name in names):
        raise InvalidMonitor(path, f"a list of at most {MOST_HEADERS} names of headers", names)
    lowered = tuple(name.lower() for name in names)
    for name in lowered:
        if not _HEADER.fullmatch(name):
            raise InvalidMonitor(path, "names of headers", name)
        if _CREDENTIALS.search(name):
            raise InvalidMonitor(path, "headers without credentials, which have no place in a topic", name)
    if len(set(lowered)) < len(lowered):
        raise InvalidMonitor(path, "each header once", names)
    return lowered


def _labels(section: Section) -> dict[str, str]:
    labels = section.mapping("labels")
    if len(labels) > MOST_LABELS:
        raise InvalidMonitor(section.at("labels"), f"at most {MOST_LABELS} labels", len(labels))
    for name, value in labels.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name):
            expected = "names of up to 63 letters, digits, '.', '_', '/' and '-'"
            raise InvalidMonitor(section.at("labels"), expected, name)
        if not isinstance(value, str) or len(value) > LABEL_CHARACTERS:
            expected = f"a text of at most {LABEL_CHARACTERS} characters"
            raise InvalidMonitor(section.at(f"labels.{name}"), expected, value)
    return dict(labels)


def _redactions(section: Section) -> dict[str, Redaction]:
    path = section.at("redact")
    return {str(name): _redaction(f"{path}.{name}", value) for name, value in section.mapping("redact").items()}


def _redaction(path: str, value: Any) -> Redaction:
    if value in ("drop", "bucket"):
        return Redaction(value)
    if isinstance(value, Mapping) and list(value) == ["hash"]:
        return Redaction("hash", parse_secret_ref(f"{path}.hash", value["hash"]))
    raise InvalidMonitor(path, "drop, bucket, or {hash: NAME of the environment variable with the key}", value)
