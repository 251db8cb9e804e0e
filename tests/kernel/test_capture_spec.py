"""The monitor's section `capture`: what it accepts, and what it refuses by path."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.examples import monitor_document
from tidegauge.capture_spec import (
    LARGEST_BODY_BYTES,
    LARGEST_RECORD_BYTES,
    MOST_HEADERS,
    MOST_LABELS,
    Capture,
    Redaction,
)
from tidegauge.errors import InvalidMonitor
from tidegauge.monitor import parse_monitor
from tidegauge.secret_refs import SecretRef


def capture(**section: Any) -> Capture:
    return parse_monitor(monitor_document(capture=section)).capture


def test_without_the_section_all_requests_are_recorded_with_their_values() -> None:
    assert parse_monitor(monitor_document()).capture == Capture() == capture()
    assert capture().why_withheld("a") is None
    assert capture().why_no_predictions is None


def test_every_field_is_read() -> None:
    found = capture(
        sampleRate=0.5,
        payload="features",
        headers=["X-Tenant", "x-region"],
        labels={"stage": "canary", "team/name": "blue"},
        redact={"a": "drop", "b": "bucket", "c": {"hash": "KEY"}, "d": {"hash": {"file": "/run/key"}}},
        maxRecordBytes=20_000,
        maxBodyBytes=100,
    )
    assert found.headers == ("x-tenant", "x-region")
    assert found.redact == {
        "a": Redaction("drop"),
        "b": Redaction("bucket"),
        "c": Redaction("hash", SecretRef(env="KEY")),
        "d": Redaction("hash", SecretRef(file="/run/key")),
    }
    assert (found.sample_rate, found.max_record_bytes, found.max_body_bytes) == (0.5, 20_000, 100)


def test_what_is_redacted_is_withheld_from_windows_but_for_buckets() -> None:
    found = capture(redact={"a": "drop", "b": "bucket", "c": {"hash": "KEY"}})
    assert [found.why_withheld(name) is None for name in "abcz"] == [False, True, False, True]
    scores = capture(payload="scores")
    assert "payload is scores" in (scores.why_withheld("a") or "")
    assert "predictions do not leave" in (scores.why_no_predictions or "")


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({"sampleRate": 0}, "sampleRate"),
        ({"sampleRate": 1.5}, "sampleRate"),
        ({"payload": "all"}, "payload"),
        ({"headers": "x-tenant"}, "headers"),
        ({"headers": [1]}, "headers"),
        ({"headers": ["no spaces"]}, "headers"),
        ({"headers": ["Authorization"]}, "headers"),
        ({"headers": ["x-session-id"]}, "headers"),
        ({"headers": ["x-a", "X-A"]}, "headers"),
        ({"headers": [f"x-{at}" for at in range(MOST_HEADERS + 1)]}, "headers"),
        ({"labels": {"-": "a"}}, "labels"),
        ({"labels": {1: "a"}}, "labels"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"labels": {"a": "x" * 257}}, "labels.a"),
        ({"labels": {f"l{at}": "" for at in range(MOST_LABELS + 1)}}, "labels"),
        ({"redact": {"a": "hide"}}, "redact.a"),
        ({"redact": {"a": {"hash": "not a name"}}}, "redact.a.hash"),
        ({"redact": {"a": {"hash": {"file": "relative"}}}}, "redact.a.hash"),
        ({"redact": {"a": {"hash": {"file": 1}}}}, "redact.a.hash"),
        ({"redact": {"a": {"hash": {"other": "/x"}}}}, "redact.a.hash"),
        ({"payload": "raw", "redact": {"a": "drop"}}, "redact"),
        ({"maxRecordBytes": 9_999}, "maxRecordBytes"),
        ({"maxRecordBytes": LARGEST_RECORD_BYTES + 1}, "maxRecordBytes"),
        ({"maxBodyBytes": 0}, "maxBodyBytes"),
        ({"maxBodyBytes": LARGEST_BODY_BYTES + 1}, "maxBodyBytes"),
        ({"sample": 1}, "sample"),
    ],
)
def test_what_cannot_be_is_refused_by_its_path(section: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidMonitor) as refused:
        capture(**section)
    assert f"spec.capture.{path}" in str(refused.value)


def test_a_key_written_in_place_of_its_name_is_not_repeated_in_the_error() -> None:
    with pytest.raises(InvalidMonitor) as refused:
        capture(redact={"a": {"hash": "s3cr3t key!"}})
    assert "s3cr3t" not in str(refused.value)
