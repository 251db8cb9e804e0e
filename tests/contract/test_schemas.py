"""Each contract has a schema that is valid itself, accepts what we write and refuses what we do not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from tests.support.examples import make_heartbeat, make_record, mixed_profile, monitor_document
from tests.support.schemas import DATA, SCHEMAS, schema, validate
from tidegauge.errors import InvalidMonitor
from tidegauge.features import ISSUES
from tidegauge.monitor import parse_monitor
from tidegauge.records import PROTOCOLS, Account, Heartbeat, InferenceRecord, encode_heartbeat, encode_record
from tidegauge.scoring import DETECTORS
from tidegauge.summaries import container
from tidegauge.summaries.window_summary import MAGIC, summarise

NAMES = sorted(path.stem for path in SCHEMAS.glob("*.json"))


def test_every_contract_has_a_schema() -> None:
    assert NAMES == [
        "alert.v1",
        "baseline-profile.v1",
        "baseline-profile.v2",
        "heartbeat.v1",
        "inference-record.v1",
        "model-monitor.v1alpha1",
        "window-report.v1",
        "window-summary.v1",
        "window-summary.v2",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_valid_json_schema_2020_12(name: str) -> None:
    assert schema(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_schema_is_described(name: str) -> None:
    bare = [path for path, field in _fields(schema(name), name) if not _says_what_it_is(field)]
    assert bare == []


def _fields(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in node.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _fields(field, f"{path}.{name}")
    if isinstance(node.get("items"), dict):
        yield from _fields(node["items"], f"{path}[]")


def _says_what_it_is(field: dict[str, Any]) -> bool:
    """By a description, a fixed value or choice, or by its own fields."""
    return any(key in field for key in ("description", "const", "enum", "properties", "oneOf"))


def test_the_record_schema_has_exactly_the_records_fields() -> None:
    written = schema("inference-record.v1")
    assert set(written["properties"]) == {"v", "kind"} | {f.name for f in dataclasses.fields(InferenceRecord)}
    assert written["properties"]["protocol"]["enum"] == list(PROTOCOLS)


def test_the_heartbeat_schema_has_exactly_the_heartbeats_fields() -> None:
    written = schema("heartbeat.v1")
    assert set(written["properties"]) == {"v", "kind"} | {f.name for f in dataclasses.fields(Heartbeat)}
    assert set(written["properties"]["account"]["properties"]) == {f.name for f in dataclasses.fields(Account)}


def test_the_profile_schema_knows_every_detector() -> None:
    assert set(schema("baseline-profile.v2")["properties"]["detectors"]["properties"]) == set(DETECTORS)


def test_what_we_write_fits_the_schemas() -> None:
    record = make_record(issues=dict.fromkeys(ISSUES, 1), predictions={"any": [1, "thing"]})
    unread = make_record(features=None, rows=0, outlier=[], issues={"not_json": 1}, traceparent="00-1-2-01")
    validate("inference-record.v1", json.loads(encode_record(record)))
    validate("inference-record.v1", json.loads(encode_record(unread)))
    validate("heartbeat.v1", json.loads(encode_heartbeat(make_heartbeat())))
    validate("heartbeat.v1", json.loads(encode_heartbeat(make_heartbeat(time_ms=1_700_000_000_123, final=True))))
    profile = mixed_profile()
    validate("baseline-profile.v2", json.loads(profile.dump()))
    sampled = make_record(weight=10.0, outlier=[True], scores={"tail": [3.5]}, predictions=["cat"])
    for records, beats in (([], []), ([record, unread, sampled], [make_heartbeat()])):
        summary = summarise(records, beats, profile)
        validate("window-summary.v2", container.head(summary.encode()[len(MAGIC) :]))
        bare = replace(summary, quantiles=None, cross=None, given=None, measures=None, labels=None, p_values=None)
        validate("window-summary.v2", container.head(bare.encode()[len(MAGIC) :]))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("inference-record.v1", {"seq": 0}, id="a-record-numbered-zero"),
        pytest.param("inference-record.v1", {"status": "200"}, id="a-status-as-text"),
        pytest.param("inference-record.v1", {"surplus": 1}, id="a-field-nobody-writes"),
        pytest.param("inference-record.v1", {"p_values": {"tail": [0.0]}}, id="an-impossible-p-value"),
        pytest.param("inference-record.v1", {"baseline": "latest"}, id="a-baseline-without-content-id"),
        pytest.param("heartbeat.v1", {"time_ms": 1_700_000_000_500}, id="a-heartbeat-between-seconds"),
        pytest.param("heartbeat.v1", {"account": {}}, id="no-account"),
    ],
)
def test_what_we_never_write_does_not_fit(name: str, changes: dict[str, Any]) -> None:
    message = encode_record(make_record()) if name.startswith("inference") else encode_heartbeat(make_heartbeat())
    with pytest.raises(ValidationError):
        validate(name, json.loads(message) | changes)


def secured(**security: Any) -> dict[str, Any]:
    return {"kafka": {"bootstrapServers": "a:1", "security": security}}


@pytest.mark.parametrize("path", sorted((DATA / "monitors").glob("*.yaml")), ids=lambda path: path.stem)
def test_monitor_files_fit_the_schema_and_are_parsed(path: Any) -> None:
    document = yaml.safe_load(path.read_text())
    validate("model-monitor.v1alpha1", document)
    parse_monitor(document)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"surplus": 1}, id="unknown-field"),
        pytest.param({"baseline": {}}, id="no-baseline"),
        pytest.param({"baseline": {"file": "a", "configMap": "b"}}, id="two-baselines"),
        pytest.param({"baseline": {"uri": "a"}}, id="uri-without-content-id"),
        pytest.param({"kafka": {}}, id="no-brokers"),
        pytest.param({"kafka": {"bootstrapServers": "a:1", "topics": {"inference": {"name": "a b"}}}}, id="topic-name"),
        pytest.param({"transformer": {"workers": 0}}, id="no-workers"),
        pytest.param({"transformer": {"spool": {}}}, id="a-spool-nowhere"),
        pytest.param({"transformer": {"spool": {"directory": "spool"}}}, id="a-relative-spool"),
        pytest.param({"transformer": {"spool": {"directory": "/s", "maxBytes": "much"}}}, id="a-spool-of-no-size"),
        pytest.param(secured(protocol="TLS"), id="unknown-protocol"),
        pytest.param(secured(caFile="/ca"), id="an-authority-without-tls"),
        pytest.param(secured(protocol="SSL", caFile="ca"), id="a-relative-file"),
        pytest.param(secured(protocol="SSL", keyFile="/key"), id="half-a-certificate"),
        pytest.param(secured(protocol="SASL_SSL"), id="no-login"),
        pytest.param(secured(protocol="SSL", sasl={"username": "a", "password": "B"}), id="a-login-nobody-asks-for"),
        pytest.param(secured(protocol="SASL_SSL", sasl={"username": "a"}), id="no-password"),
        pytest.param(secured(protocol="SASL_SSL", sasl={"username": "a", "password": "b c"}), id="a-password-itself"),
        pytest.param({"outliers": {"detectors": ["psychic"]}}, id="unknown-detector"),
        pytest.param({"outliers": {"detectors": []}}, id="no-detector"),
        pytest.param({"outliers": {"falseAlarmRate": 0}}, id="rate-zero"),
        pytest.param({"outliers": {"detectors": ["own.module:"]}}, id="half-a-detector"),
        pytest.param({"outliers": {"policy": "block"}}, id="policy"),
        pytest.param({"outliers": {"budgetMs": -1}}, id="budget-below-zero"),
        pytest.param({"windows": {"duration": 15}}, id="duration-without-unit"),
        pytest.param({"windows": {"minCount": 0}}, id="min-count-zero"),
        pytest.param({"drift": {"falseAlarms": "seldom"}}, id="budget"),
        pytest.param({"statistics": {"percentiles": [101]}}, id="percentile-beyond-100"),
        pytest.param({"statistics": {"percentiles": []}}, id="no-percentiles"),
        pytest.param({"statistics": {"bins": {"height": ["low"]}}}, id="an-edge-as-text"),
        pytest.param({"statistics": {"topCategories": 0}}, id="no-categories"),
        pytest.param({"statistics": {"median": True}}, id="unknown-statistic"),
        pytest.param({"drift": {"minimumEffect": {"psi": 1}}}, id="unknown-test"),
        pytest.param({"drift": {"minimumEffect": {"location": -0.5}}}, id="negative-effect"),
        pytest.param({"drift": {"thresholds": {"vibes": 1}}}, id="threshold-of-an-unknown-test"),
        pytest.param({"drift": {"thresholds": {"psi": 0}}}, id="threshold-zero"),
    ],
)
def test_schema_and_parser_refuse_the_same_monitors(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate("model-monitor.v1alpha1", monitor_document(**spec))
    with pytest.raises(InvalidMonitor):
        parse_monitor(monitor_document(**spec))


def test_the_schemas_defaults_are_the_parsers() -> None:
    filled = monitor_document(**_defaults(schema("model-monitor.v1alpha1")["properties"]["spec"]))
    validate("model-monitor.v1alpha1", filled)
    assert parse_monitor(filled) == parse_monitor(monitor_document())


def _defaults(node: dict[str, Any]) -> dict[str, Any]:
    """Every optional field at its default, sections with required fields left out."""
    filled: dict[str, Any] = {}
    for name, field in node["properties"].items():
        if "default" in field:
            filled[name] = field["default"]
        elif "properties" in field and not field["required"] and (inner := _defaults(field)):
            filled[name] = inner
    return filled
